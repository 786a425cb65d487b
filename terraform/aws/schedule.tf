# The schedule of the anomaly function, if there is one, and the queue of its failed calls.

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

    # A late check is useless, because the next one makes up for it.
    retry_policy {
      maximum_event_age_in_seconds = 60
      maximum_retry_attempts       = 2
    }

    dead_letter_config {
      arn = aws_sqs_queue.missed[0].arn
    }
  }
}

resource "aws_sqs_queue" "missed" {
  count = local.anomaly

  name                      = "${var.name}-anomaly-missed"
  message_retention_seconds = 24 * 3600 # failed calls are kept for diagnosis only, and are not repeated
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue_policy" "missed" {
  count = local.anomaly

  queue_url = aws_sqs_queue.missed[0].id
  policy    = data.aws_iam_policy_document.missed_tls_only[0].json
}

data "aws_iam_policy_document" "missed_tls_only" {
  count = local.anomaly

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.missed[0].arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}
