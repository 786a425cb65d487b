# One service account for each component, with exactly the permissions that its code uses.

locals {
  # Permissions of Firestore are granted on the project. The condition limits them to the database
  # of this stack.
  database_only = "resource.type == \"firestore.googleapis.com/Database\" && resource.name == \"projects/${var.project}/databases/${local.database}\""
  staging_only = join(" || ", [
    for folder in ["staged", "foreign"] :
    "resource.name.startsWith(\"projects/_/buckets/${google_storage_bucket.staging.name}/objects/${folder}/\")"
  ])
  raw_only = "resource.name.startsWith(\"projects/_/buckets/${google_storage_bucket.raw.name}/objects/raw/\")"

  role_prefix = replace(var.name, "-", "_") # a role's id has no hyphens

  # Custom roles of producers, replicators and operators, because Google's own roles allow much more
  # than they call.
  roles = {
    queue_viewer = {
      title       = "look at a queue"
      description = "Checks whether the subscription exists, and how fast Pub/Sub answers"
      permissions = ["pubsub.subscriptions.get"]
    }
    function_viewer = {
      title       = "look at a function"
      description = "Checks whether a function exists, and which code it has"
      permissions = ["cloudfunctions.functions.get"]
    }
    producer = {
      title       = "producer on Firestore"
      description = "Reads the primary, the versions of messages and candles, and stores anomalies"
      permissions = [
        "datastore.entities.create",
        "datastore.entities.get",
        "datastore.entities.list",
        "datastore.entities.update",
      ]
    }
    replicator = {
      title       = "replicator on Firestore"
      description = "Reads, writes and deletes documents"
      permissions = [
        "datastore.entities.create",
        "datastore.entities.delete",
        "datastore.entities.get",
        "datastore.entities.list",
        "datastore.entities.update",
      ]
    }
    replicator_project = {
      title       = "replicator on the project"
      description = "Counts the dead letters, which only Cloud Monitoring can"
      permissions = ["monitoring.timeSeries.list"]
    }
    operator = {
      title       = "operator on Firestore"
      description = "Reads documents and the settings of the database"
      permissions = [
        "datastore.databases.getMetadata",
        "datastore.entities.get",
        "datastore.entities.list",
      ]
    }
    operator_project = {
      title       = "operator on the project"
      description = "Reads metrics, alert policies, logs, enabled services and whether billing is enabled"
      permissions = concat(
        [
          "logging.logEntries.list",
          "monitoring.alertPolicies.list",
          "monitoring.timeSeries.list",
          "resourcemanager.projects.get",
          "serviceusage.services.get",
        ],
        # `mcloud cost report` reads the bill if there is an export.
        var.billing_dataset == null ? [] : ["bigquery.jobs.create"],
      )
    }
  }
}

# The id of a custom role is refused from the 7th to the 37th day after its deletion, so a stack
# that is created again needs other ids:
# https://cloud.google.com/iam/docs/creating-custom-roles#deleting-custom-role
resource "terraform_data" "role_suffix" {
  input            = formatdate("YYYYMMDDhhmmss", plantimestamp())
  triggers_replace = [var.name]

  lifecycle {
    ignore_changes = [input]
  }
}

# This id is separate, because the role is created and deleted together with the anomaly function.
resource "terraform_data" "anomaly_role_suffix" {
  count = var.anomalies ? 1 : 0

  input            = formatdate("YYYYMMDDhhmmss", plantimestamp())
  triggers_replace = [var.name]

  lifecycle {
    ignore_changes = [input]
  }
}

resource "google_service_account" "processor" {
  account_id   = local.processor
  display_name = "Processor of the stack"

  depends_on = [google_project_service.this]
}

resource "google_project_iam_custom_role" "processor" {
  role_id     = "${local.role_prefix}_processor_${terraform_data.role_suffix.input}"
  title       = "${local.processor} on Firestore"
  description = "Reads and writes documents one by one; neither queries nor deletes"
  permissions = [
    "datastore.entities.create",
    "datastore.entities.get",
    "datastore.entities.update",
  ]

  depends_on = [google_project_service.this]
}

resource "google_project_iam_member" "processor" {
  project = var.project
  role    = google_project_iam_custom_role.processor.name
  member  = google_service_account.processor.member

  condition {
    title      = "${var.name} database"
    expression = local.database_only
  }
}

# The role includes the permission to delete, because Cloud Storage requires it for writing an
# existing name again, as a retry does. It is not documented whether the precondition "only if it
# does not exist" is checked first. Versions and soft deletion keep the earlier content.
resource "google_project_iam_custom_role" "archiver" {
  role_id     = "${local.role_prefix}_archiver_${terraform_data.role_suffix.input}"
  title       = "${var.name}-archiver on Cloud Storage"
  description = "Writes objects, also repeatedly, and reads none"
  permissions = ["storage.objects.create", "storage.objects.delete"]

  depends_on = [google_project_service.this]
}

resource "google_storage_bucket_iam_member" "processor" {
  bucket = google_storage_bucket.raw.name
  role   = google_project_iam_custom_role.archiver.name
  member = google_service_account.processor.member

  condition {
    title      = "raw trades"
    expression = local.raw_only
  }
}

# Permissions for spans can only be granted on the project.
resource "google_project_iam_member" "processor_traces" {
  project = var.project
  role    = "roles/cloudtrace.agent"
  member  = google_service_account.processor.member
}

# Pub/Sub calls the processor as this account.
resource "google_service_account" "invoker" {
  account_id   = "${var.name}-invoker"
  display_name = "Calls the processor"

  depends_on = [google_project_service.this]
}

resource "google_cloud_run_v2_service_iam_member" "invoker" {
  name     = google_cloudfunctions2_function.processor.name
  location = var.region
  role     = "roles/run.invoker"
  member   = google_service_account.invoker.member

  # A function that was created again has lost its grants.
  lifecycle {
    replace_triggered_by = [google_cloudfunctions2_function.processor.id]
  }
}

# Projects from before April 2021 do not have this grant by default. The service agent exists after
# the first use of Pub/Sub.
resource "google_service_account_iam_member" "pubsub_as_invoker" {
  service_account_id = google_service_account.invoker.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = local.pubsub_agent

  depends_on = [google_pubsub_topic.trades]
}

resource "google_project_iam_custom_role" "this" {
  for_each = local.roles

  role_id     = "${local.role_prefix}_${each.key}_${terraform_data.role_suffix.input}"
  title       = "${var.name}: ${each.value.title}"
  description = each.value.description
  permissions = each.value.permissions

  depends_on = [google_project_service.this]
}

resource "google_service_account" "producer" {
  account_id   = "${var.name}-producer"
  display_name = "Producers of the stack"

  depends_on = [google_project_service.this]
}

resource "google_pubsub_topic_iam_member" "producer" {
  topic  = google_pubsub_topic.trades.name
  role   = "roles/pubsub.publisher"
  member = google_service_account.producer.member
}

# With `--mode nearest`, a producer measures how fast the queue answers.
resource "google_pubsub_subscription_iam_member" "producer" {
  subscription = google_pubsub_subscription.processor.name
  role         = google_project_iam_custom_role.this["queue_viewer"].name
  member       = google_service_account.producer.member
}

resource "google_project_iam_member" "producer" {
  project = var.project
  role    = google_project_iam_custom_role.this["producer"].name
  member  = google_service_account.producer.member

  condition {
    title      = "${var.name} database"
    expression = local.database_only
  }
}

resource "google_service_account" "replicator" {
  account_id   = "${var.name}-replicator"
  display_name = "Replicator of the stack"

  depends_on = [google_project_service.this]
}

resource "google_project_iam_member" "replicator" {
  project = var.project
  role    = google_project_iam_custom_role.this["replicator"].name
  member  = google_service_account.replicator.member

  condition {
    title      = "${var.name} database"
    expression = local.database_only
  }
}

resource "google_storage_bucket_iam_member" "replicator_reads" {
  bucket = google_storage_bucket.raw.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.replicator.member
}

resource "google_storage_bucket_iam_member" "replicator_writes" {
  bucket = google_storage_bucket.raw.name
  role   = google_project_iam_custom_role.archiver.name
  member = google_service_account.replicator.member

  condition {
    title      = "raw trades"
    expression = local.raw_only
  }
}

# Compaction removes staged objects, and keeps lines in them that are no messages.
resource "google_storage_bucket_iam_member" "replicator_reads_staged" {
  bucket = google_storage_bucket.staging.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.replicator.member
}

resource "google_storage_bucket_iam_member" "replicator_writes_staged" {
  bucket = google_storage_bucket.staging.name
  role   = google_project_iam_custom_role.archiver.name
  member = google_service_account.replicator.member

  condition {
    title      = "staged trades"
    expression = local.staging_only
  }
}

# For dead letters, which return to the topic or are deleted, and for restores that send trades to
# the functions.
resource "google_pubsub_topic_iam_member" "replicator" {
  topic  = google_pubsub_topic.trades.name
  role   = "roles/pubsub.publisher"
  member = google_service_account.replicator.member
}

# A guard, which uses this account, checks whether the queue and the processor exist. `mcloud status`
# looks at the code of all functions.
resource "google_pubsub_subscription_iam_member" "replicator_looks" {
  subscription = google_pubsub_subscription.processor.name
  role         = google_project_iam_custom_role.this["queue_viewer"].name
  member       = google_service_account.replicator.member
}

resource "google_cloudfunctions2_function_iam_member" "replicator_looks" {
  cloud_function = google_cloudfunctions2_function.processor.name
  location       = var.region
  role           = google_project_iam_custom_role.this["function_viewer"].name
  member         = google_service_account.replicator.member

  # A function that was created again has lost its grants.
  lifecycle {
    replace_triggered_by = [google_cloudfunctions2_function.processor.id]
  }
}

resource "google_cloudfunctions2_function_iam_member" "replicator_looks_scheduled" {
  for_each = local.scheduled

  cloud_function = google_cloudfunctions2_function.scheduled[each.key].name
  location       = var.region
  role           = google_project_iam_custom_role.this["function_viewer"].name
  member         = google_service_account.replicator.member

  lifecycle {
    replace_triggered_by = [google_cloudfunctions2_function.scheduled[each.key].id]
  }
}

resource "google_pubsub_subscription_iam_member" "replicator_dead_letters" {
  subscription = google_pubsub_subscription.dlq.name
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.replicator.member
}

# Only Cloud Monitoring reports the number of waiting messages, such as dead letters to redrive.
# Permissions for time series can only be granted on the project.
resource "google_project_iam_member" "replicator_project" {
  project = var.project
  role    = google_project_iam_custom_role.this["replicator_project"].name
  member  = google_service_account.replicator.member
}

resource "google_service_account" "operator" {
  account_id   = "${var.name}-operator"
  display_name = "Operators of the stack"

  depends_on = [google_project_service.this]
}

resource "google_project_iam_member" "operator" {
  project = var.project
  role    = google_project_iam_custom_role.this["operator"].name
  member  = google_service_account.operator.member

  condition {
    title      = "${var.name} database"
    expression = local.database_only
  }
}

# Permissions for time series, log entries, services and queries can only be granted on the project.
resource "google_project_iam_member" "operator_project" {
  project = var.project
  role    = google_project_iam_custom_role.this["operator_project"].name
  member  = google_service_account.operator.member
}

# The dataset may be in another project, which has no custom role of the stack.
resource "google_bigquery_dataset_iam_member" "operator_bill" {
  count = var.billing_dataset == null ? 0 : 1

  project    = regex("^(.+)\\.[^.]+$", var.billing_dataset)[0]
  dataset_id = regex("[^.]+$", var.billing_dataset)
  role       = "roles/bigquery.dataViewer"
  member     = google_service_account.operator.member
}

resource "google_storage_bucket_iam_member" "operator" {
  bucket = google_storage_bucket.raw.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.operator.member
}

resource "google_storage_bucket_iam_member" "operator_staged" {
  bucket = google_storage_bucket.staging.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.operator.member
}

resource "google_pubsub_subscription_iam_member" "operator" {
  subscription = google_pubsub_subscription.processor.name
  role         = google_project_iam_custom_role.this["queue_viewer"].name
  member       = google_service_account.operator.member
}

# Pub/Sub shows the content of a message only to a client that pulls it. Operators return it
# immediately.
resource "google_pubsub_subscription_iam_member" "operator_dead_letters" {
  subscription = google_pubsub_subscription.dlq.name
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.operator.member
}

resource "google_cloudfunctions2_function_iam_member" "operator" {
  cloud_function = google_cloudfunctions2_function.processor.name
  location       = var.region
  role           = google_project_iam_custom_role.this["function_viewer"].name
  member         = google_service_account.operator.member

  # A function that was created again has lost its grants.
  lifecycle {
    replace_triggered_by = [google_cloudfunctions2_function.processor.id]
  }
}

resource "google_cloudfunctions2_function_iam_member" "operator_scheduled" {
  for_each = local.scheduled

  cloud_function = google_cloudfunctions2_function.scheduled[each.key].name
  location       = var.region
  role           = google_project_iam_custom_role.this["function_viewer"].name
  member         = google_service_account.operator.member

  lifecycle {
    replace_triggered_by = [google_cloudfunctions2_function.scheduled[each.key].id]
  }
}

resource "google_service_account_iam_member" "trusted" {
  for_each = {
    for pair in setproduct(["producer", "replicator", "operator"], var.trusted_principals) :
    join(" ", pair) => { component = pair[0], member = pair[1] }
  }

  service_account_id = {
    producer   = google_service_account.producer.name
    replicator = google_service_account.replicator.name
    operator   = google_service_account.operator.name
  }[each.value.component]
  role   = "roles/iam.serviceAccountTokenCreator"
  member = each.value.member
}

# Cloud Build makes the functions' images as this account: the default account has no permissions in
# new projects, and too many in old ones.
resource "google_service_account" "builder" {
  account_id   = "${var.name}-builder"
  display_name = "Builds the functions"

  depends_on = [google_project_service.this]
}

resource "google_artifact_registry_repository_iam_member" "builder" {
  repository = google_artifact_registry_repository.functions.name
  location   = var.region
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.builder.member
}

resource "google_project_iam_member" "builder_logs" {
  project = var.project
  role    = "roles/logging.logWriter"
  member  = google_service_account.builder.member
}

# Cloud Functions copies the sources of all functions of a project into a bucket of its own and builds from there.
resource "google_project_iam_member" "builder_source" {
  project = var.project
  role    = "roles/storage.objectViewer"
  member  = google_service_account.builder.member

  condition {
    title = "function sources"
    # The slash leaves out a stack whose name begins with the name of this one.
    expression = join(" || ", concat(
      ["resource.name == \"${local.sources}\""],
      [
        for function in ["processor", "anomaly", "compact"] :
        "resource.name.startsWith(\"${local.sources}/objects/${var.name}-${function}/\")"
      ],
    ))
  }
}

resource "google_storage_bucket_iam_member" "builder" {
  bucket = google_storage_bucket.source.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.builder.member
}

resource "google_service_account" "scheduled" {
  for_each = local.scheduled

  account_id   = "${var.name}-${each.key}"
  display_name = each.value.account

  depends_on = [google_project_service.this]
}

resource "google_project_iam_custom_role" "anomaly" {
  count = var.anomalies ? 1 : 0

  role_id     = "${local.role_prefix}_anomaly_${terraform_data.anomaly_role_suffix[0].input}"
  title       = "${var.name}-anomaly on Firestore"
  description = "Reads and deletes anomalies; reads no documents one by one, and writes none"
  permissions = [
    "datastore.entities.delete",
    "datastore.entities.get",
    "datastore.entities.list",
  ]

  depends_on = [google_project_service.this]
}

# The compaction function keeps a note of what it did, with which the next call continues.
resource "google_project_iam_member" "scheduled" {
  for_each = local.scheduled

  project = var.project
  member  = google_service_account.scheduled[each.key].member
  role = {
    anomaly = one(google_project_iam_custom_role.anomaly[*].name)
    compact = google_project_iam_custom_role.processor.name
  }[each.key]

  condition {
    title      = "${var.name} database"
    expression = local.database_only
  }
}

resource "google_storage_bucket_iam_member" "compact_reads" {
  count = var.compaction ? 1 : 0

  bucket = google_storage_bucket.raw.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.scheduled["compact"].member
}

resource "google_storage_bucket_iam_member" "compact_writes" {
  count = var.compaction ? 1 : 0

  bucket = google_storage_bucket.raw.name
  role   = google_project_iam_custom_role.archiver.name
  member = google_service_account.scheduled["compact"].member

  condition {
    title      = "raw trades"
    expression = local.raw_only
  }
}

resource "google_storage_bucket_iam_member" "compact_reads_staged" {
  count = var.compaction ? 1 : 0

  bucket = google_storage_bucket.staging.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.scheduled["compact"].member
}

resource "google_storage_bucket_iam_member" "compact_writes_staged" {
  count = var.compaction ? 1 : 0

  bucket = google_storage_bucket.staging.name
  role   = google_project_iam_custom_role.archiver.name
  member = google_service_account.scheduled["compact"].member

  condition {
    title      = "staged trades"
    expression = local.staging_only
  }
}

resource "google_service_account" "scheduler" {
  count = min(1, length(local.scheduled))

  account_id   = "${var.name}-scheduler"
  display_name = "Calls the functions that have a schedule"

  depends_on = [google_project_service.this]
}

resource "google_cloud_run_v2_service_iam_member" "scheduler" {
  for_each = local.scheduled

  name     = google_cloudfunctions2_function.scheduled[each.key].name
  location = var.region
  role     = "roles/run.invoker"
  member   = google_service_account.scheduler[0].member

  # A function that was created again has lost its grants.
  lifecycle {
    replace_triggered_by = [google_cloudfunctions2_function.scheduled[each.key].id]
  }
}
