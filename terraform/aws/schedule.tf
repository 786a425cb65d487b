# Calls the anomaly function, where there is one.

resource "aws_scheduler_schedule" "anomaly" {
  #checkov:skip=CKV_AWS_297:it carries no payload to encrypt
  count = local.anomaly

  name                = local.anomaly_name
  description         = "Calls the anomaly function"
  schedule_expression = var.anomaly_schedule

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_function.anomaly[0].arn
    role_arn = aws_iam_role.scheduler[0].arn

    # A look that is late is worth nothing: the next one comes.
    retry_policy {
      maximum_event_age_in_seconds = 60
      maximum_retry_attempts       = 2
    }
  }
}
