# Nothing of the stack is deleted while deletion protection is on.

# It depends on everything else, so that Terraform destroys it first; while protection is on, that fails, and
# nothing else is destroyed. The stores' own protection would refuse much later, when the functions and the
# queues with their messages are gone.
resource "terraform_data" "protection" {
  input = var.deletion_protection

  # Other values of these replace the whole stack.
  triggers_replace = [var.name, var.region]

  # mcloud switches the stores' protection off beforehand, once the user has named what is lost.
  provisioner "local-exec" {
    when    = destroy
    command = self.input ? "test -n \"$MCLOUD_LOSS_CONFIRMED\" || { echo 'deletion_protection is on'; exit 1; }" : "true"
  }

  depends_on = [
    aws_budgets_budget.monthly,
    aws_cloudwatch_dashboard.this,
    aws_lambda_event_source_mapping.trades,
    aws_lambda_function_event_invoke_config.anomaly,
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
    aws_scheduler_schedule.anomaly,
    aws_sqs_queue_policy.missed,
  ]
}
