# The processor, fed by the subscription, and the functions that are called on schedules.

locals {
  processor = "${var.name}-processor"

  # Functions that are called on a schedule, by the entry point in the bundle. Durations are in
  # seconds, and memory is in MiB.
  scheduled = {
    for name, function in {
      anomaly = {
        is_wanted   = var.anomalies
        title       = "Anomaly function"
        description = "Sends the anomalies that producers have found"
        account     = "Anomaly function of the stack"
        timeout     = var.function_timeout
        memory      = var.function_memory

        schedule         = var.anomaly_schedule
        job              = "Calls the anomaly function"
        attempt_deadline = max(15, var.function_timeout)
        # A late call is useless, because the next one makes up for it.
        retries      = 2
        max_duration = "60s"

        errors = "The anomaly function fails: anomalies are not sent until it works again."
        period = "60s"
      }
      compact = {
        is_wanted   = var.compaction
        title       = "Compaction function"
        description = "Puts staged trades and small objects of the raw archive into large blocks"
        account     = "What the compaction function may do"
        # It stops before the timeout, and the next call continues. The memory holds the trades and
        # blocks of one part, see mcloud/archive/compact.py.
        timeout = local.compact_timeout
        memory  = 1024

        schedule         = var.compaction_schedule
        job              = "Calls the compaction function"
        attempt_deadline = local.compact_timeout + 30
        # The next call tries again what failed.
        retries      = 0
        max_duration = null

        errors = "The compaction function fails, or cannot move the trades of an object to a block; its log names it. Trades stay in the staging bucket until then."
        period = "3600s" # it runs once in this time, and the alert stays until a run succeeds
      }
    } : name => function if function.is_wanted
  }

  # Seconds. Cloud Scheduler waits for up to 1,800.
  compact_timeout = 900

  # Number of concurrent requests of an instance. Its server has four threads per core by default.
  # Further requests would wait inside the instance while their timeout runs.
  requests_at_once = 8

  bundle_digest = filesha256(var.bundle)

  # The provider does not read the source back. These it does, so that a plan shows when an update failed.
  build = {
    BUNDLE_SHA256 = local.bundle_digest
    BUILD         = terraform_data.build.input
  }
}

# The provider regards a function as up to date whose build failed. mcloud then replaces this value, so that the
# functions are built again. They are changed in place: the revisions that still serve are kept.
resource "terraform_data" "build" {
  input = formatdate("YYYYMMDDhhmmss", plantimestamp())

  lifecycle {
    ignore_changes = [input]
  }
}

resource "google_cloudfunctions2_function" "processor" {
  name        = local.processor
  location    = var.region
  description = "Folds trades into candles"

  build_config {
    runtime           = "python313"
    entry_point       = "process"
    docker_repository = google_artifact_registry_repository.functions.id
    service_account   = google_service_account.builder.id

    environment_variables = local.build

    source {
      storage_source {
        bucket = google_storage_bucket.source.name
        object = google_storage_bucket_object.bundle.name
      }
    }
  }

  service_config {
    service_account_email = google_service_account.processor.email
    # Requests from Pub/Sub and Cloud Scheduler of this project count as internal.
    ingress_settings                 = "ALLOW_INTERNAL_ONLY"
    timeout_seconds                  = var.function_timeout
    available_memory                 = "${var.function_memory}Mi"
    available_cpu                    = "1" # concurrent requests require a whole CPU
    max_instance_request_concurrency = local.requests_at_once
    min_instance_count               = var.min_instances
    max_instance_count               = var.function_concurrency

    environment_variables = {
      GOOGLE_CLOUD_PROJECT = var.project
      RAW_BUCKET           = google_storage_bucket.raw.name
      EXPORTED_SINCE       = terraform_data.exported_since.output
      FIRESTORE_DATABASE   = google_firestore_database.this.name
      CANDLES_COLLECTION   = local.candles_collection
      CONTROL_COLLECTION   = local.control_collection
      THREADS              = tostring(local.requests_at_once)
      # Cloud Functions adds this variable if it is missing, and Terraform would show a change.
      LOG_EXECUTION_ID = "true"
    }
  }

  depends_on = [
    google_project_service.this,
    google_artifact_registry_repository_iam_member.builder,
    google_project_iam_member.builder_logs,
    google_project_iam_member.builder_source,
    google_storage_bucket_iam_member.builder,
  ]
}

resource "google_cloudfunctions2_function" "scheduled" {
  for_each = local.scheduled

  name        = "${var.name}-${each.key}"
  location    = var.region
  description = each.value.description

  build_config {
    runtime           = "python313"
    entry_point       = each.key
    docker_repository = google_artifact_registry_repository.functions.id
    service_account   = google_service_account.builder.id

    environment_variables = local.build

    source {
      storage_source {
        bucket = google_storage_bucket.source.name
        object = google_storage_bucket_object.bundle.name
      }
    }
  }

  service_config {
    service_account_email = google_service_account.scheduled[each.key].email
    ingress_settings      = "ALLOW_INTERNAL_ONLY"
    timeout_seconds       = each.value.timeout
    available_memory      = "${each.value.memory}Mi"
    available_cpu         = "1"
    # Only one call runs at a time. Two compactions at once would do no harm.
    max_instance_count = 1

    environment_variables = merge(
      {
        GOOGLE_CLOUD_PROJECT = var.project
        FIRESTORE_DATABASE   = google_firestore_database.this.name
        CONTROL_COLLECTION   = local.control_collection
        LOG_EXECUTION_ID     = "true"
      },
      {
        anomaly = {}
        compact = {
          RAW_BUCKET      = google_storage_bucket.raw.name
          STAGING_BUCKET  = google_storage_bucket.staging.name
          TIMEOUT_SECONDS = tostring(local.compact_timeout)
        }
      }[each.key],
    )
  }

  depends_on = [
    google_project_service.this,
    google_artifact_registry_repository_iam_member.builder,
    google_project_iam_member.builder_logs,
    google_project_iam_member.builder_source,
    google_storage_bucket_iam_member.builder,
  ]
}

resource "google_storage_bucket" "source" {
  #checkov:skip=CKV_GCP_62:an access log needs a bucket of the project's; Cloud Audit Logs serve as well
  name                        = "${var.name}-source-${var.project}"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true # built again at any time

  versioning {
    enabled = true
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      num_newer_versions         = 1
      days_since_noncurrent_time = 7
    }
  }

  depends_on = [google_project_service.this]
}

# The name contains a digest of the content, so other code is another object, and the functions are
# built again.
resource "google_storage_bucket_object" "bundle" {
  name   = "functions-${local.bundle_digest}.zip"
  bucket = google_storage_bucket.source.name
  source = var.bundle

  # The source of the running code stays until the functions were built from the new source.
  lifecycle {
    create_before_destroy = true
  }
}

# The stack has its own repository, because the one that Cloud Functions would create belongs to the
# whole project and would remain after a destroy.
resource "google_artifact_registry_repository" "functions" {
  #checkov:skip=CKV_GCP_84:Google's own key encrypts it; images are built again at any time
  repository_id = "${var.name}-functions"
  description   = "Images of the functions"
  location      = var.region
  format        = "DOCKER"

  cleanup_policies {
    id     = "old"
    action = "DELETE"

    condition {
      older_than = "${7 * 24 * 3600}s"
    }
  }

  cleanup_policies {
    id     = "recent"
    action = "KEEP"

    most_recent_versions {
      keep_count = 3
    }
  }

  depends_on = [google_project_service.this]
}
