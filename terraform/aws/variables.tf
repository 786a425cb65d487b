variable "name" {
  description = "Prefix of every name. It makes a stack unique in its account: a second stack, or a second region, takes another one."
  type        = string
  default     = "mcloud"

  validation {
    # Short enough for a bucket, which carries the account number too.
    condition     = can(regex("^[a-z][a-z0-9-]{2,16}[a-z0-9]$", var.name))
    error_message = "The name has 4 to 18 lower-case letters, digits and hyphens, starts with a letter and ends with a letter or digit."
  }
}

variable "region" {
  description = "AWS region of everything in the stack."
  type        = string
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "The region looks like us-east-1."
  }
}

variable "tags" {
  description = "Tags on everything, beside application and stack; activate them as cost allocation tags to see what a stack costs."
  type        = map(string)
  default     = {}
}

variable "deletion_protection" {
  description = "Refuse to delete the tables and a bucket that is not empty. Apply false first where a stack is to go with its data."
  type        = bool
  default     = true
}

variable "bundle" {
  description = "Path of the functions' zip; its handlers are processor.handler and anomalies.handler."
  type        = string

  validation {
    condition     = fileexists(var.bundle)
    error_message = "There is no such bundle; build it first."
  }
}

variable "anomalies" {
  description = "Whether a function looks for prices and volumes out of line; false makes neither it nor its schedule."
  type        = bool
  default     = true
}

variable "anomaly_thresholds" {
  description = "What is out of line, where it is not the default: see [anomalies] of mcloud.toml, which mcloud passes on."
  type        = map(number)
  default     = {}

  validation {
    condition = length(setsubtract(keys(var.anomaly_thresholds), [
      "window", "jump_score", "jump_least", "volume_score", "volume_least", "drift_score", "drift_least",
    ])) == 0
    error_message = "The thresholds are window, jump_score, jump_least, volume_score, volume_least, drift_score and drift_least."
  }
}

variable "anomaly_schedule" {
  description = "When the anomaly function runs, as an EventBridge rate or cron expression in UTC."
  type        = string
  default     = "rate(1 minute)"

  validation {
    condition     = can(regex("^(rate|cron)\\(.+\\)$", var.anomaly_schedule))
    error_message = "The schedule looks like rate(1 minute) or cron(0/5 * * * ? *)."
  }
}

variable "function_timeout" {
  description = "Seconds that a batch may take. Messages stay hidden for six times as long."
  type        = number
  default     = 60

  validation {
    condition     = var.function_timeout >= 10 && var.function_timeout <= 900
    error_message = "The timeout is between 10 and 900 seconds."
  }
}

variable "function_memory" {
  description = "Memory of a function in MB; its share of a CPU grows with it."
  type        = number
  default     = 512

  validation {
    condition     = var.function_memory >= 128 && var.function_memory <= 10240
    error_message = "The memory is between 128 and 10240 MB."
  }
}

variable "function_concurrency" {
  description = "How many batches are processed at the same time."
  type        = number
  default     = 10

  validation {
    condition     = var.function_concurrency >= 2 && var.function_concurrency <= 1000
    error_message = "SQS takes a concurrency between 2 and 1000."
  }
}

variable "reserve_concurrency" {
  description = "Reserve function_concurrency for the processor, and 1 for the anomaly function, so that other functions of the account cannot use it up. The queue limits the processor in any case. A new account may run 10 functions in all, and Lambda refuses to reserve any of them."
  type        = bool
  default     = false
}

variable "batch_window" {
  description = "Seconds to wait for a batch to fill: more latency, fewer calls and fewer writes."
  type        = number
  default     = 5

  validation {
    condition     = var.batch_window >= 1 && var.batch_window <= 5
    error_message = "The window is between 1 and 5 seconds."
  }
}

variable "candles_capacity" {
  description = "Units a second that the candle table always has and is paid for, such as { write = 25, read = 5 }; null pays by the request. `mcloud cost advise` says when it saves."
  type        = object({ write = number, read = number })
  default     = null

  validation {
    condition     = var.candles_capacity == null ? true : min(var.candles_capacity.write, var.candles_capacity.read) >= 1
    error_message = "A capacity is at least one write and one read unit."
  }
}

variable "deliveries" {
  description = "How often a message is tried before it goes to the dead-letter queue."
  type        = number
  default     = 5

  validation {
    condition     = var.deliveries >= 2 && var.deliveries <= 100
    error_message = "Deliveries are between 2 and 100."
  }
}

variable "log_retention" {
  description = "Days that the functions' logs are kept."
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
  description = "ARNs that may assume the producer, replicator and operator roles; empty leaves it to this account's own IAM policies."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.trusted_principals : can(regex("^arn:aws[a-z-]*:(iam|sts)::[0-9]{12}:.+$", arn))])
    error_message = "A principal is the ARN of an account, user or role; everybody (*) is not one."
  }
}

variable "alert_publishers" {
  description = "Roles that may publish to the stack's alert topic, for a channel [channels.NAME] that names it: operator, replicator or both."
  type        = list(string)
  default     = []

  validation {
    condition     = length(setsubtract(var.alert_publishers, ["operator", "replicator"])) == 0
    error_message = "The publishers are operator and replicator."
  }
}

variable "alert_email" {
  description = "Address that gets the alerts, once it has confirmed; null subscribes nobody."
  type        = string
  default     = null

  validation {
    condition     = var.alert_email == null ? true : can(regex("^[^@\\s]+@[^@\\s]+$", var.alert_email))
    error_message = "That is not an e-mail address."
  }
}

variable "max_message_age" {
  description = "Seconds that the oldest message may wait before an alarm."
  type        = number
  default     = 300

  validation {
    condition     = var.max_message_age >= 60
    error_message = "The age is at least 60 seconds: SQS reports it once a minute."
  }
}

variable "max_silence" {
  description = "Seconds without a trade to process before an alarm; null sets none, as for a site that only stands by."
  type        = number
  default     = null

  validation {
    condition     = var.max_silence == null ? true : var.max_silence % 60 == 0 && var.max_silence >= 300 && var.max_silence <= 86400
    error_message = "The silence is whole minutes, between 300 and 86400 seconds."
  }
}

variable "monthly_budget" {
  description = "USD (in China, CNY) a month for the whole account; null sets no budget."
  type        = number
  default     = null

  validation {
    condition     = var.monthly_budget == null ? true : var.monthly_budget > 0
    error_message = "The budget is more than nothing."
  }
}
