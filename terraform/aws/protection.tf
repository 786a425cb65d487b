# Prevents the deletion of any resource of the stack while deletion protection is on.

# This resource depends on all others, so Terraform destroys it first. While protection is on, that
# fails, and nothing else is destroyed. The stores' own protection would refuse much later, after
# the functions and the queues with their messages were deleted.
resource "terraform_data" "protection" {
  input = var.deletion_protection

  # A change of one of these values replaces the whole stack.
  triggers_replace = [var.name, var.region]

  # mcloud first switches off the protection of the stores, after the user has confirmed the loss by
  # name.
  provisioner "local-exec" {
    when    = destroy
    command = self.input ? "test -n \"$MCLOUD_LOSS_CONFIRMED\" || { echo 'deletion_protection is on'; exit 1; }" : "true"
  }

  depends_on = [
    terraform_data.build,
    aws_budgets_budget.monthly,
    aws_cloudwatch_dashboard.this,
    aws_lambda_event_source_mapping.trades,
    aws_lambda_function_event_invoke_config.scheduled,
    aws_iam_role_policy.producer,
    aws_iam_role_policy.replicator,
    aws_iam_role_policy.operator,
    aws_iam_role_policy.publisher,
    aws_iam_role_policy.scheduler,
    aws_sqs_queue_redrive_allow_policy.dlq,
    aws_sqs_queue_policy.trades,
    aws_sqs_queue_policy.dlq,
    aws_cloudwatch_metric_alarm.this,
    aws_cloudwatch_metric_alarm.silence,
    aws_sns_topic_subscription.email,
    aws_kms_alias.alerts,
    aws_s3_bucket_server_side_encryption_configuration.raw,
    aws_s3_bucket_ownership_controls.raw,
    aws_s3_bucket_policy.raw,
    aws_s3_bucket_lifecycle_configuration.raw,
    aws_s3_bucket_server_side_encryption_configuration.staging,
    aws_s3_bucket_ownership_controls.staging,
    aws_s3_bucket_policy.staging,
    aws_s3_bucket_lifecycle_configuration.staging,
    aws_kinesis_firehose_delivery_stream.trades,
    aws_scheduler_schedule.scheduled,
    aws_sqs_queue_policy.missed,
  ]
}
