variable "name" {
  description = "Prefix of every name. It must be unique in the account: a second stack, also in another region, needs another prefix."
  type        = string
  default     = "mcloud"

  validation {
    # The name of a bucket also contains the account number, so the prefix must be short.
    condition     = can(regex("^[a-z][a-z0-9-]{2,16}[a-z0-9]$", var.name))
    error_message = "The name must have 4 to 18 lower-case letters, digits and hyphens, start with a letter, and end with a letter or digit."
  }
}

variable "region" {
  description = "AWS region of all resources of the stack."
  type        = string
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "The region must have the form us-east-1."
  }
}

variable "tags" {
  description = "Tags of all resources, in addition to application and stack. Activate them as cost allocation tags to see the cost of a stack."
  type        = map(string)
  default     = {}
}

variable "deletion_protection" {
  description = "Whether to refuse the deletion of the tables, and of a bucket that is not empty. To delete a stack with its data, apply false first."
  type        = bool
  default     = true
}

variable "bundle" {
  description = "Path of the zip file with the functions. Its handlers are processor.handler, anomalies.handler and compaction.handler."
  type        = string

  validation {
    condition     = fileexists(var.bundle)
    error_message = "The bundle does not exist; build it first."
  }
}

variable "anomalies" {
  description = "Whether to create the anomaly function, which sends the anomalies that producers find, and its schedule."
  type        = bool
  default     = true
}

variable "anomaly_schedule" {
  description = "Schedule of the anomaly function, as an EventBridge rate or cron expression in UTC."
  type        = string
  default     = "rate(1 minute)"

  validation {
    condition     = can(regex("^(rate|cron)\\(.+\\)$", var.anomaly_schedule))
    error_message = "The schedule must have the form rate(1 minute) or cron(0/5 * * * ? *)."
  }
}

variable "compaction" {
  description = "Whether a function moves the trades of staged objects and of small raw objects to large blocks. With false, there is neither the function nor its schedule, and `mcloud compact` has to run regularly."
  type        = bool
  default     = true
}

variable "compaction_schedule" {
  description = "When the compaction function runs, as an EventBridge rate or cron expression in UTC."
  type        = string
  default     = "cron(10 * * * ? *)"

  validation {
    condition     = can(regex("^(rate|cron)\\(.+\\)$", var.compaction_schedule))
    error_message = "The schedule looks like cron(10 * * * ? *) or rate(1 hour)."
  }
}

variable "function_timeout" {
  description = "Timeout for a batch, in seconds. Messages stay hidden for six times as long."
  type        = number
  default     = 60

  validation {
    condition     = var.function_timeout >= 10 && var.function_timeout <= 900
    error_message = "The timeout must be from 10 to 900 seconds."
  }
}

variable "function_memory" {
  description = "Memory of a function in MB. Its share of a CPU grows with the memory."
  type        = number
  default     = 512

  validation {
    condition     = var.function_memory >= 128 && var.function_memory <= 10240
    error_message = "The memory must be from 128 to 10240 MB."
  }
}

variable "function_concurrency" {
  description = "Maximum number of batches that are processed at the same time."
  type        = number
  default     = 10

  validation {
    condition     = var.function_concurrency >= 2 && var.function_concurrency <= 1000
    error_message = "The concurrency must be from 2 to 1000, the limits of SQS."
  }
}

variable "reserve_concurrency" {
  description = "Whether to reserve function_concurrency for the processor, and 1 each for the anomaly and the compaction function, so that other functions of the account cannot use them. The queue limits the processor in any case. A new account may run 10 functions in total, and Lambda refuses to reserve any of them."
  type        = bool
  default     = false
}

variable "freshness" {
  description = "Maximum age of a candle in seconds. mcloud passes on freshness of [produce] in mcloud.toml."
  type        = number
  default     = 5

  validation {
    condition     = var.freshness >= 0 && var.freshness <= 600
    error_message = "The freshness must be from 0 to 600 seconds."
  }
}

variable "batch_window" {
  description = "Seconds to wait for a batch to fill. A longer window increases the latency, and reduces calls and writes. With null, it is a thirtieth of the freshness, from 1 to 5 seconds."
  type        = number
  default     = null

  validation {
    condition     = var.batch_window == null ? true : var.batch_window >= 1 && var.batch_window <= 5
    error_message = "The window must be from 1 to 5 seconds."
  }
}

variable "candles_capacity" {
  description = "Provisioned units per second of the candle table, such as { write = 25, read = 5 }. They are billed even if unused. With null, each request is billed. `mcloud cost advise` reports which is cheaper."
  type        = object({ write = number, read = number })
  default     = null

  validation {
    condition     = var.candles_capacity == null ? true : min(var.candles_capacity.write, var.candles_capacity.read) >= 1
    error_message = "The capacity must be at least one write unit and one read unit."
  }
}

variable "deliveries" {
  description = "Number of deliveries after which a message goes to the dead-letter queue."
  type        = number
  default     = 5

  validation {
    condition     = var.deliveries >= 2 && var.deliveries <= 100
    error_message = "The number of deliveries must be from 2 to 100."
  }
}

variable "log_retention" {
  description = "Number of days for which the logs of the functions are kept."
  type        = number
  default     = 30

  validation {
    condition = contains(
      [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653],
      var.log_retention
    )
    error_message = "CloudWatch keeps logs for 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180 or 365 days, or for whole years up to ten (400, 545, 731, 1096, …)."
  }
}

variable "trusted_principals" {
  description = "ARNs that may assume the roles of producers, replicators and operators. If empty, the IAM policies of this account decide."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.trusted_principals : can(regex("^arn:aws[a-z-]*:(iam|sts)::[0-9]{12}:.+$", arn))])
    error_message = "A principal must be the ARN of an account, user or role. The wildcard * is not allowed."
  }
}

variable "alert_publishers" {
  description = "Roles that may publish to the stack's alert topic, for a channel [channels.NAME] that names it: operator, replicator or both."
  type        = list(string)
  default     = []

  validation {
    condition     = length(setsubtract(var.alert_publishers, ["operator", "replicator"])) == 0
    error_message = "The allowed publishers are operator and replicator."
  }
}

variable "alert_email" {
  description = "Email address that receives alerts after it has confirmed the subscription. With null, nobody is subscribed."
  type        = string
  default     = null

  validation {
    condition     = var.alert_email == null ? true : can(regex("^[^@\\s]+@[^@\\s]+$", var.alert_email))
    error_message = "The value must be an email address."
  }
}

variable "alerts_key" {
  description = "Whether a KMS key of the stack encrypts alerts in the topic. It costs $1.00 a month, used or not."
  type        = bool
  default     = false
}

variable "max_message_age" {
  description = "Age of the oldest message, in seconds, above which an alarm fires."
  type        = number
  default     = 300

  validation {
    condition     = var.max_message_age >= 60
    error_message = "The age must be at least 60 seconds, because SQS reports it once a minute."
  }
}

variable "max_silence" {
  description = "Seconds without a stored trade after which an alarm fires. Use null, for no alarm, at a standby site."
  type        = number
  default     = null

  validation {
    condition     = var.max_silence == null ? true : var.max_silence % 60 == 0 && var.max_silence >= 300 && var.max_silence <= 86400
    error_message = "The silence must be a whole number of minutes, from 300 to 86400 seconds."
  }
}

variable "monthly_budget" {
  description = "Budget per month in USD (in China, CNY) for the whole account. With null, there is no budget."
  type        = number
  default     = null

  validation {
    condition     = var.monthly_budget == null ? true : var.monthly_budget > 0
    error_message = "The budget must be greater than 0."
  }
}
