# The schedules of the anomaly and the compaction function, if they are wanted.

resource "google_cloud_scheduler_job" "anomaly" {
  count = local.anomaly

  name             = local.anomaly_name
  region           = var.region
  description      = "Calls the anomaly function"
  schedule         = var.anomaly_schedule
  time_zone        = "Etc/UTC"
  attempt_deadline = "${max(15, var.function_timeout)}s"

  http_target {
    http_method = "POST"
    uri         = google_cloudfunctions2_function.anomaly[0].service_config[0].uri

    oidc_token {
      service_account_email = google_service_account.scheduler[0].email
      audience              = google_cloudfunctions2_function.anomaly[0].service_config[0].uri
    }
  }

  # A late check is useless, because the next one makes up for it.
  retry_config {
    retry_count        = 2
    max_retry_duration = "60s"
  }

  depends_on = [google_cloud_run_v2_service_iam_member.scheduler]
}

resource "google_cloud_scheduler_job" "compact" {
  count = local.compact

  name             = local.compact_name
  region           = var.region
  description      = "Calls the compaction function"
  schedule         = var.compaction_schedule
  time_zone        = "Etc/UTC"
  attempt_deadline = "${local.compact_timeout + 30}s"

  http_target {
    http_method = "POST"
    uri         = google_cloudfunctions2_function.compact[0].service_config[0].uri

    oidc_token {
      service_account_email = google_service_account.scheduler[0].email
      audience              = google_cloudfunctions2_function.compact[0].service_config[0].uri
    }
  }

  # The next call tries again what failed.
  retry_config {
    retry_count = 0
  }

  depends_on = [google_cloud_run_v2_service_iam_member.scheduler_compact]
}
