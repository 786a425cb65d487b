variable "name" {
  description = "Prefix of every name. It must be unique in the project: a second stack, also in another region, needs another prefix."
  type        = string
  default     = "mcloud"

  validation {
    # The id of a service account has at most 30 characters, so the prefix must be short.
    condition     = can(regex("^[a-z][a-z0-9-]{2,16}[a-z0-9]$", var.name))
    error_message = "The name must have 4 to 18 lower-case letters, digits and hyphens, start with a letter, and end with a letter or digit."
  }
}

variable "project" {
  description = "ID of the Google Cloud project."
  type        = string

  validation {
    condition     = !strcontains(var.project, ":")
    error_message = "A project that belongs to a domain, such as example.com:desk, cannot be used: no bucket can have its ID in the name."
  }

  validation {
    condition     = strcontains(var.project, ":") || can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "Use the ID of the project, which has 6 to 30 lower-case letters, digits and hyphens, and not its name or number."
  }
}

variable "region" {
  description = "Region of all resources of the stack."
  type        = string
  default     = "us-central1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "The region must have the form us-central1."
  }
}

variable "labels" {
  description = "Labels of all resources, in addition to application and stack."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key, value in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value))])
    error_message = "Labels consist of up to 63 lower-case letters, digits, hyphens and underscores, and their keys must start with a letter."
  }
}

variable "deletion_protection" {
  description = "Whether to refuse the deletion of the database, and of a bucket that is not empty. To delete a stack with its data, apply false first."
  type        = bool
  default     = true
}

variable "database" {
  description = "ID of the Firestore database. With null, it has the name of the stack. Only the database \"(default)\" of a project has a free quota."
  type        = string
  default     = null

  validation {
    condition     = var.database == null ? true : can(regex("^(\\(default\\)|[a-z][a-z0-9-]{2,61}[a-z0-9])$", var.database))
    error_message = "The ID of the database must be (default), or have 4 to 63 lower-case letters, digits and hyphens."
  }
}

variable "bundle" {
  description = "Path of the zip file with the functions. Its entry points are process, anomaly and compact in main.py."
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
  description = "Schedule of the anomaly function, as a cron expression in UTC."
  type        = string
  default     = "* * * * *"

  validation {
    condition     = can(regex("^\\S+( \\S+){4}$", var.anomaly_schedule))
    error_message = "The schedule must have the form */5 * * * *."
  }
}

variable "compaction" {
  description = "Whether a function moves the trades of staged objects and of small raw objects to large blocks. With false, there is neither the function nor its schedule, and `mcloud compact` has to run regularly."
  type        = bool
  default     = true
}

variable "compaction_schedule" {
  description = "When the compaction function runs, as a cron expression in UTC."
  type        = string
  default     = "10 * * * *"

  validation {
    condition     = can(regex("^\\S+( \\S+){4}$", var.compaction_schedule))
    error_message = "The schedule looks like 10 * * * *."
  }
}

variable "function_timeout" {
  description = "Timeout for a message, in seconds."
  type        = number
  default     = 60

  validation {
    # Pub/Sub waits at most 600 s for the answer to a push, and is given a little more than this.
    condition     = var.function_timeout >= 10 && var.function_timeout <= 570
    error_message = "The timeout must be from 10 to 570 seconds."
  }
}

variable "function_memory" {
  description = "Memory of a function in MB."
  type        = number
  default     = 512

  validation {
    condition     = contains([256, 512, 1024, 2048, 4096], var.function_memory)
    error_message = "The memory must be 256, 512, 1024, 2048 or 4096 MB, which are the values for one CPU."
  }
}

variable "function_concurrency" {
  description = "Maximum number of instances. Each processes several messages at the same time."
  type        = number
  default     = 10

  validation {
    condition     = var.function_concurrency >= 1 && var.function_concurrency <= 1000
    error_message = "The concurrency must be from 1 to 1000."
  }
}

variable "min_instances" {
  description = "Number of instances that stay warm without messages, and are billed."
  type        = number
  default     = 0

  validation {
    condition     = var.min_instances >= 0 && var.min_instances <= 1000
    error_message = "The number of instances must be from 0 to 1000."
  }
}

variable "deliveries" {
  description = "Number of deliveries after which a message goes to the dead-letter topic."
  type        = number
  default     = 20

  validation {
    condition     = var.deliveries >= 5 && var.deliveries <= 100
    error_message = "The number of deliveries must be from 5 to 100, the limits of Pub/Sub."
  }
}

variable "backup_retention" {
  description = "Number of days for which the daily backups of the database are kept."
  type        = number
  default     = 7

  validation {
    condition     = var.backup_retention >= 1 && var.backup_retention <= 98
    error_message = "The retention of backups must be from 1 to 98 days (14 weeks)."
  }
}

variable "trusted_principals" {
  description = "Members, such as group:traders@example.com, that may use the service accounts of producers, replicators and operators. If empty, the policies of the project decide."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.trusted_principals : can(regex("^(user|group|serviceAccount|domain|principal|principalSet):.+$", member))])
    error_message = "A member must have the form group:traders@example.com. The value allUsers is not allowed."
  }
}

variable "alert_email" {
  description = "Email address that receives alerts. With null, nobody is notified."
  type        = string
  default     = null

  validation {
    condition     = var.alert_email == null ? true : can(regex("^[^@\\s]+@[^@\\s]+$", var.alert_email))
    error_message = "The value must be an email address."
  }
}

variable "max_message_age" {
  description = "Age of the oldest message, in seconds, above which an alert fires."
  type        = number
  default     = 300

  validation {
    condition     = var.max_message_age >= 60
    error_message = "The age must be at least 60 seconds, because Pub/Sub reports it once a minute."
  }
}

variable "max_silence" {
  description = "Seconds without a stored trade after which an alert fires. Use null, for no alert, at a standby site."
  type        = number
  default     = null

  validation {
    condition     = var.max_silence == null ? true : var.max_silence % 60 == 0 && var.max_silence >= 300 && var.max_silence <= 84600
    error_message = "The silence must be a whole number of minutes, from 300 to 84600 seconds."
  }
}

variable "billing_account" {
  description = "ID of the project's billing account, for the budget. With null, there is no budget."
  type        = string
  default     = null

  validation {
    condition     = var.billing_account == null ? true : can(regex("^[0-9A-F]{6}(-[0-9A-F]{6}){2}$", var.billing_account))
    error_message = "The billing account must have the form 012345-6789AB-CDEF01."
  }
}

variable "billing_dataset" {
  description = "BigQuery dataset with the billing export, as project.dataset. Operators get permission to read it. With null, they cannot read the bill."
  type        = string
  default     = null

  validation {
    condition     = var.billing_dataset == null ? true : can(regex("^[a-z][a-z0-9.:-]*\\.[A-Za-z0-9_]+$", var.billing_dataset))
    error_message = "The dataset must have the form my-project.billing."
  }
}

variable "monthly_budget" {
  description = "Budget per month for the whole project, in whole units of the billing account's currency. It needs billing_account."
  type        = number
  default     = 100

  validation {
    condition     = var.monthly_budget > 0 && floor(var.monthly_budget) == var.monthly_budget
    error_message = "The budget must be a whole number above 0."
  }
}
