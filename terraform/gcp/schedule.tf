# The schedules of the functions that are called on one.

resource "google_cloud_scheduler_job" "scheduled" {
  for_each = local.scheduled

  name             = "${var.name}-${each.key}"
  region           = var.region
  description      = each.value.job
  schedule         = each.value.schedule
  time_zone        = "Etc/UTC"
  attempt_deadline = "${each.value.attempt_deadline}s"

  http_target {
    http_method = "POST"
    uri         = google_cloudfunctions2_function.scheduled[each.key].service_config[0].uri

    oidc_token {
      service_account_email = google_service_account.scheduler[0].email
      audience              = google_cloudfunctions2_function.scheduled[each.key].service_config[0].uri
    }
  }

  retry_config {
    retry_count        = each.value.retries
    max_retry_duration = each.value.max_duration
  }

  depends_on = [google_cloud_run_v2_service_iam_member.scheduler]
}
