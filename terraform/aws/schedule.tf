# The schedules of the anomaly and the compaction function, if they are wanted, and the queues of their failed calls.

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
      arn = aws_sqs_queue.missed["anomaly"].arn
    }
  }
}

resource "aws_scheduler_schedule" "compact" {
  #checkov:skip=CKV_AWS_297:it carries no payload to encrypt
  count = local.compact

  name                = local.compact_name
  description         = "Calls the compaction function"
  schedule_expression = var.compaction_schedule

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_function.compact[0].arn
    role_arn = aws_iam_role.scheduler[0].arn

    retry_policy {
      maximum_event_age_in_seconds = 1800
      maximum_retry_attempts       = 5
    }

    dead_letter_config {
      arn = aws_sqs_queue.missed["compact"].arn
    }
  }
}

resource "aws_sqs_queue" "missed" {
  for_each = local.scheduled

  name                      = "${var.name}-${each.key}-missed"
  message_retention_seconds = 24 * 3600 # failed calls are kept for diagnosis only, and are not repeated
  sqs_managed_sse_enabled   = true
}

moved {
  from = aws_sqs_queue.missed[0]
  to   = aws_sqs_queue.missed["anomaly"]
}

resource "aws_sqs_queue_policy" "missed" {
  for_each = local.scheduled

  queue_url = aws_sqs_queue.missed[each.key].id
  policy    = data.aws_iam_policy_document.missed_tls_only[each.key].json
}

moved {
  from = aws_sqs_queue_policy.missed[0]
  to   = aws_sqs_queue_policy.missed["anomaly"]
}

data "aws_iam_policy_document" "missed_tls_only" {
  for_each = local.scheduled

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.missed[each.key].arn]

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
