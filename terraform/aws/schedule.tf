# The schedules of the functions that are called on one, and the queues of their failed calls.

resource "aws_scheduler_schedule" "scheduled" {
  #checkov:skip=CKV_AWS_297:it carries no payload to encrypt
  for_each = local.scheduled

  name                = "${var.name}-${each.key}"
  description         = each.value.calls
  schedule_expression = each.value.schedule

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_function.scheduled[each.key].arn
    role_arn = aws_iam_role.scheduler[0].arn

    retry_policy {
      maximum_event_age_in_seconds = each.value.max_call_age
      maximum_retry_attempts       = each.value.retries
    }

    dead_letter_config {
      arn = aws_sqs_queue.missed[each.key].arn
    }
  }
}

resource "aws_sqs_queue" "missed" {
  for_each = local.scheduled

  name                      = "${var.name}-${each.key}-missed"
  message_retention_seconds = 24 * 3600 # failed calls are kept for diagnosis only, and are not repeated
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue_policy" "missed" {
  for_each = local.scheduled

  queue_url = aws_sqs_queue.missed[each.key].id
  policy    = data.aws_iam_policy_document.missed_tls_only[each.key].json
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
