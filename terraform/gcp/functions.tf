# The processor, fed by the subscription, and the anomaly and the compaction function, called on schedules.

locals {
  processor    = "${var.name}-processor"
  anomaly_name = "${var.name}-anomaly"
  compact_name = "${var.name}-compact"

  # Seconds. Cloud Scheduler waits for up to 1,800.
  compact_timeout = 900

  # Number of concurrent requests of an instance. Its server has four threads per core by default.
  # Further requests would wait inside the instance while their timeout runs.
  requests_at_once = 8

  bundle_digest = filesha256(var.bundle)
}

resource "google_cloudfunctions2_function" "processor" {
  name        = local.processor
  location    = var.region
  description = "Archives trades and folds them into candles"

  build_config {
    runtime           = "python313"
    entry_point       = "process"
    docker_repository = google_artifact_registry_repository.functions.id
    service_account   = google_service_account.builder.id

    # The provider does not read the source back. This it does, so that a plan shows when an update failed.
    environment_variables = { BUNDLE_SHA256 = local.bundle_digest }

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

resource "google_cloudfunctions2_function" "anomaly" {
  count = local.anomaly

  name        = local.anomaly_name
  location    = var.region
  description = "Searches candles for unusual prices and volumes"

  build_config {
    runtime           = "python313"
    entry_point       = "anomaly"
    docker_repository = google_artifact_registry_repository.functions.id
    service_account   = google_service_account.builder.id

    # The provider does not read the source back. This it does, so that a plan shows when an update failed.
    environment_variables = { BUNDLE_SHA256 = local.bundle_digest }

    source {
      storage_source {
        bucket = google_storage_bucket.source.name
        object = google_storage_bucket_object.bundle.name
      }
    }
  }

  service_config {
    service_account_email = google_service_account.anomaly[0].email
    ingress_settings      = "ALLOW_INTERNAL_ONLY"
    timeout_seconds       = var.function_timeout
    available_memory      = "${var.function_memory}Mi"
    available_cpu         = "1"
    # Only one check runs at a time.
    max_instance_count = 1

    environment_variables = {
      GOOGLE_CLOUD_PROJECT = var.project
      FIRESTORE_DATABASE   = google_firestore_database.this.name
      CANDLES_COLLECTION   = local.candles_collection
      CONTROL_COLLECTION   = local.control_collection
      ANOMALY_THRESHOLDS   = jsonencode(var.anomaly_thresholds)
      LOG_EXECUTION_ID     = "true"
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

resource "google_cloudfunctions2_function" "compact" {
  count = local.compact

  name        = local.compact_name
  location    = var.region
  description = "Puts the small objects of the raw archive into large blocks"

  build_config {
    runtime           = "python313"
    entry_point       = "compact"
    docker_repository = google_artifact_registry_repository.functions.id
    service_account   = google_service_account.builder.id

    # The provider does not read the source back. This it does, so that a plan shows when an update failed.
    environment_variables = { BUNDLE_SHA256 = local.bundle_digest }

    source {
      storage_source {
        bucket = google_storage_bucket.source.name
        object = google_storage_bucket_object.bundle.name
      }
    }
  }

  service_config {
    service_account_email = google_service_account.compact[0].email
    ingress_settings      = "ALLOW_INTERNAL_ONLY"
    # It stops before the timeout, and the next call continues. The memory holds the trades and blocks
    # of one part, see mcloud/archive/compact.py.
    timeout_seconds  = local.compact_timeout
    available_memory = "1024Mi"
    available_cpu    = "1"
    # One compaction at a time. Two at once would do no harm.
    max_instance_count = 1

    environment_variables = {
      GOOGLE_CLOUD_PROJECT = var.project
      RAW_BUCKET           = google_storage_bucket.raw.name
      FIRESTORE_DATABASE   = google_firestore_database.this.name
      CANDLES_COLLECTION   = local.candles_collection
      CONTROL_COLLECTION   = local.control_collection
      TIMEOUT_SECONDS      = tostring(local.compact_timeout)
      LOG_EXECUTION_ID     = "true"
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

moved {
  from = google_storage_bucket_object.processor
  to   = google_storage_bucket_object.bundle
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
