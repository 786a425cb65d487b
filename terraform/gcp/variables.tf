variable "name" {
  description = "Prefix of every name. It makes a stack unique in its project: a second stack, or a second region, takes another one."
  type        = string
  default     = "mcloud"

  validation {
    # Short enough for a service account, which has 30 characters.
    condition     = can(regex("^[a-z][a-z0-9-]{2,16}[a-z0-9]$", var.name))
    error_message = "The name has 4 to 18 lower-case letters, digits and hyphens, starts with a letter and ends with a letter or digit."
  }
}

variable "project" {
  description = "Id of the Google Cloud project."
  type        = string

  validation {
    condition     = !strcontains(var.project, ":")
    error_message = "A project of a domain, such as example.com:desk, will not do: no bucket can have its id in the name."
  }

  validation {
    condition     = strcontains(var.project, ":") || can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "A project's id has 6 to 30 lower-case letters, digits and hyphens; its name or number will not do."
  }
}

variable "region" {
  description = "Region of everything in the stack."
  type        = string
  default     = "us-central1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "The region looks like us-central1."
  }
}

variable "labels" {
  description = "Labels on everything, beside application and stack."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key, value in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value))])
    error_message = "Labels have lower-case letters, digits, hyphens and underscores, up to 63 of them, and a key starts with a letter."
  }
}

variable "deletion_protection" {
  description = "Refuse to delete the database and a bucket that is not empty. Apply false first where a stack is to go with its data."
  type        = bool
  default     = true
}

variable "database" {
  description = "Id of the Firestore database; null names it as the stack. A project has one \"(default)\", which is the one with a free quota."
  type        = string
  default     = null

  validation {
    condition     = var.database == null ? true : can(regex("^(\\(default\\)|[a-z][a-z0-9-]{2,61}[a-z0-9])$", var.database))
    error_message = "A database's id is (default), or 4 to 63 lower-case letters, digits and hyphens."
  }
}

variable "bundle" {
  description = "Path of the functions' zip; its entry points are process and anomaly in main.py."
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
  description = "When the anomaly function runs, as a cron expression in UTC."
  type        = string
  default     = "* * * * *"

  validation {
    condition     = can(regex("^\\S+( \\S+){4}$", var.anomaly_schedule))
    error_message = "The schedule looks like */5 * * * *."
  }
}

variable "function_timeout" {
  description = "Seconds that a message may take."
  type        = number
  default     = 60

  validation {
    # Pub/Sub waits at most 600 s for the answer to a push, and is given a little more than this.
    condition     = var.function_timeout >= 10 && var.function_timeout <= 570
    error_message = "The timeout is between 10 and 570 seconds."
  }
}

variable "function_memory" {
  description = "Memory of a function in MB."
  type        = number
  default     = 512

  validation {
    condition     = contains([256, 512, 1024, 2048, 4096], var.function_memory)
    error_message = "One CPU goes with 256, 512, 1024, 2048 or 4096 MB."
  }
}

variable "function_concurrency" {
  description = "How many instances run at the same time; each takes several messages at once."
  type        = number
  default     = 10

  validation {
    condition     = var.function_concurrency >= 1 && var.function_concurrency <= 1000
    error_message = "The concurrency is between 1 and 1000."
  }
}

variable "min_instances" {
  description = "Instances that stay warm, and are paid for, without messages."
  type        = number
  default     = 0

  validation {
    condition     = var.min_instances >= 0 && var.min_instances <= 1000
    error_message = "The instances are between 0 and 1000."
  }
}

variable "deliveries" {
  description = "How often a message is tried before it goes to the dead-letter topic."
  type        = number
  default     = 20

  validation {
    condition     = var.deliveries >= 5 && var.deliveries <= 100
    error_message = "Pub/Sub takes 5 to 100 deliveries."
  }
}

variable "backup_retention" {
  description = "Days that the daily backups of the database are kept."
  type        = number
  default     = 7

  validation {
    condition     = var.backup_retention >= 1 && var.backup_retention <= 98
    error_message = "Firestore keeps a backup for 1 to 98 days (14 weeks)."
  }
}

variable "trusted_principals" {
  description = "Members, such as group:traders@example.com, that may act as the producer, replicator and operator accounts; empty leaves it to the project's own policies."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.trusted_principals : can(regex("^(user|group|serviceAccount|domain|principal|principalSet):.+$", member))])
    error_message = "A member looks like group:traders@example.com; everybody (allUsers) is not one."
  }
}

variable "alert_email" {
  description = "Address that gets the alerts; null tells nobody."
  type        = string
  default     = null

  validation {
    condition     = var.alert_email == null ? true : can(regex("^[^@\\s]+@[^@\\s]+$", var.alert_email))
    error_message = "That is not an e-mail address."
  }
}

variable "max_message_age" {
  description = "Seconds that the oldest message may wait before an alert."
  type        = number
  default     = 300

  validation {
    condition     = var.max_message_age >= 60
    error_message = "The age is at least 60 seconds: Pub/Sub reports it once a minute."
  }
}

variable "max_silence" {
  description = "Seconds without a trade to process before an alert; null sets none, as for a site that only stands by."
  type        = number
  default     = null

  validation {
    condition     = var.max_silence == null ? true : var.max_silence % 60 == 0 && var.max_silence >= 300 && var.max_silence <= 84600
    error_message = "The silence is whole minutes, between 300 and 84600 seconds."
  }
}

variable "billing_account" {
  description = "Id of the project's billing account, for the budget; null sets none."
  type        = string
  default     = null

  validation {
    condition     = var.billing_account == null ? true : can(regex("^[0-9A-F]{6}(-[0-9A-F]{6}){2}$", var.billing_account))
    error_message = "A billing account looks like 012345-6789AB-CDEF01."
  }
}

variable "billing_dataset" {
  description = "BigQuery dataset with the billing export, as project.dataset, for the operator to read the bill; null lets him not."
  type        = string
  default     = null

  validation {
    condition     = var.billing_dataset == null ? true : can(regex("^[a-z][a-z0-9.:-]*\\.[A-Za-z0-9_]+$", var.billing_dataset))
    error_message = "A dataset looks like my-project.billing."
  }
}

variable "monthly_budget" {
  description = "Whole units of the billing account's currency a month, for the whole project; takes a billing_account."
  type        = number
  default     = 100

  validation {
    condition     = var.monthly_budget > 0 && floor(var.monthly_budget) == var.monthly_budget
    error_message = "The budget is a whole number above 0."
  }
}
