# The queue of trades for the processor, and the queue of messages that it could not process.

locals {
  # Seconds. A dead letter keeps the date of its message, so its queue must keep messages for
  # longer. SQS allows at most 14 days.
  retention     = 10 * 24 * 3600
  dlq_retention = 14 * 24 * 3600
  # The largest value that all supported versions of the provider accept. An envelope has at most
  # 64 KiB by default.
  max_message_size = 256 * 1024 # bytes
}

resource "aws_sqs_queue" "trades" {
  name                      = "${var.name}-trades"
  message_retention_seconds = local.retention
  max_message_size          = local.max_message_size
  receive_wait_time_seconds = 20
  sqs_managed_sse_enabled   = true
  # Lambda recommends six times the timeout of the function.
  visibility_timeout_seconds = 6 * var.function_timeout

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dlq.arn
    maxReceiveCount     = var.deliveries
  })
}

resource "aws_sqs_queue" "dlq" {
  name                      = "${var.name}-trades-dlq"
  message_retention_seconds = local.dlq_retention
  max_message_size          = local.max_message_size
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue_redrive_allow_policy" "dlq" {
  queue_url = aws_sqs_queue.dlq.id

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.trades.arn]
  })
}

resource "aws_sqs_queue_policy" "trades" {
  queue_url = aws_sqs_queue.trades.id
  policy    = data.aws_iam_policy_document.trades_tls_only.json
}

resource "aws_sqs_queue_policy" "dlq" {
  queue_url = aws_sqs_queue.dlq.id
  policy    = data.aws_iam_policy_document.dlq_tls_only.json
}

data "aws_iam_policy_document" "trades_tls_only" {
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.trades.arn]

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

data "aws_iam_policy_document" "dlq_tls_only" {
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.dlq.arn]

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
