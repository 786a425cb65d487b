# Earlier addresses of resources, so that stacks from before are kept as they are.

moved {
  from = google_storage_bucket_object.processor
  to   = google_storage_bucket_object.bundle
}

moved {
  from = google_cloudfunctions2_function.anomaly[0]
  to   = google_cloudfunctions2_function.scheduled["anomaly"]
}

moved {
  from = google_cloudfunctions2_function.compact[0]
  to   = google_cloudfunctions2_function.scheduled["compact"]
}

moved {
  from = google_service_account.anomaly[0]
  to   = google_service_account.scheduled["anomaly"]
}

moved {
  from = google_service_account.compact[0]
  to   = google_service_account.scheduled["compact"]
}

moved {
  from = google_project_iam_member.anomaly[0]
  to   = google_project_iam_member.scheduled["anomaly"]
}

moved {
  from = google_project_iam_member.compact[0]
  to   = google_project_iam_member.scheduled["compact"]
}

moved {
  from = google_cloud_run_v2_service_iam_member.scheduler[0]
  to   = google_cloud_run_v2_service_iam_member.scheduler["anomaly"]
}

moved {
  from = google_cloud_run_v2_service_iam_member.scheduler_compact[0]
  to   = google_cloud_run_v2_service_iam_member.scheduler["compact"]
}

moved {
  from = google_cloud_scheduler_job.anomaly[0]
  to   = google_cloud_scheduler_job.scheduled["anomaly"]
}

moved {
  from = google_cloud_scheduler_job.compact[0]
  to   = google_cloud_scheduler_job.scheduled["compact"]
}
