# Prevents the deletion of any resource of the stack while deletion protection is on.

# This resource depends on all others, so Terraform destroys it first. While protection is on, that
# fails, and nothing else is destroyed. The stores' own protection would refuse much later, after
# the functions and the queues with their messages were deleted.
resource "terraform_data" "protection" {
  input = var.deletion_protection

  # A change of one of these values replaces the whole stack.
  triggers_replace = [var.name, var.project, var.region, local.database]

  # mcloud first switches off the protection of the stores, after the user has confirmed the loss by
  # name.
  provisioner "local-exec" {
    when    = destroy
    command = self.input ? "test -n \"$MCLOUD_LOSS_CONFIRMED\" || { echo 'deletion_protection is on'; exit 1; }" : "true"
  }

  depends_on = [
    terraform_data.build,
    google_billing_budget.monthly,
    google_monitoring_dashboard.this,
    google_firestore_backup_schedule.daily,
    google_firestore_index.newest,
    google_firestore_field.unindexed,
    google_project_iam_member.processor,
    google_storage_bucket_iam_member.processor,
    google_project_iam_member.processor_traces,
    google_service_account_iam_member.pubsub_as_invoker,
    google_pubsub_topic_iam_member.producer,
    google_project_iam_member.producer,
    google_pubsub_subscription_iam_member.producer,
    google_project_iam_member.replicator,
    google_project_iam_member.replicator_project,
    google_storage_bucket_iam_member.replicator_reads,
    google_storage_bucket_iam_member.replicator_writes,
    google_pubsub_topic_iam_member.replicator,
    google_pubsub_subscription_iam_member.replicator_looks,
    google_cloudfunctions2_function_iam_member.replicator_looks,
    google_cloudfunctions2_function_iam_member.replicator_looks_scheduled,
    google_pubsub_subscription_iam_member.replicator_dead_letters,
    google_project_iam_member.operator,
    google_project_iam_member.operator_project,
    google_bigquery_dataset_iam_member.operator_bill,
    google_storage_bucket_iam_member.operator,
    google_pubsub_subscription.export,
    google_storage_bucket_iam_member.operator_staged,
    google_storage_bucket_iam_member.replicator_reads_staged,
    google_storage_bucket_iam_member.replicator_writes_staged,
    google_storage_bucket_iam_member.compact_reads_staged,
    google_storage_bucket_iam_member.compact_writes_staged,
    google_pubsub_subscription_iam_member.operator,
    google_pubsub_subscription_iam_member.operator_dead_letters,
    google_cloudfunctions2_function_iam_member.operator,
    google_cloudfunctions2_function_iam_member.operator_scheduled,
    google_service_account_iam_member.trusted,
    google_project_iam_member.scheduled,
    google_storage_bucket_iam_member.compact_reads,
    google_storage_bucket_iam_member.compact_writes,
    google_pubsub_topic_iam_member.dlq_publisher,
    google_pubsub_subscription_iam_member.dlq_subscriber,
    google_monitoring_alert_policy.anomaly,
    google_monitoring_alert_policy.this,
    google_logging_metric.stored,
    google_logging_project_exclusion.pushes,
    google_monitoring_alert_policy.silence,
    google_cloud_scheduler_job.scheduled,
    terraform_data.name,
  ]
}
