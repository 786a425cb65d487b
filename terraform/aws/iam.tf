# One role for each component, which allows exactly the calls that its code makes.

locals {
  # The ARNs are not taken from the functions, because a plan that changes their code would then
  # also show changes of the policies.
  functions_arn = "arn:${local.partition}:lambda:${var.region}:${local.account}:function"
}

resource "aws_iam_role" "processor" {
  name               = local.processor
  description        = "Permissions of the processor"
  assume_role_policy = data.aws_iam_policy_document.lambda.json
}

resource "aws_iam_role_policy" "processor" {
  name   = "processor"
  role   = aws_iam_role.processor.id
  policy = data.aws_iam_policy_document.processor.json
}

data "aws_iam_policy_document" "processor" {
  statement {
    sid       = "Receive"
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
    resources = [aws_sqs_queue.trades.arn]
  }

  # If the time runs out, the rest of a message returns to the queue as a new message.
  statement {
    sid       = "SendBack"
    actions   = ["sqs:GetQueueUrl", "sqs:SendMessage"]
    resources = [aws_sqs_queue.trades.arn]
  }

  # Lambda requires this for the queue of failed calls when it creates the function.
  statement {
    sid       = "DeadLetters"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dlq.arn]
  }

  statement {
    sid       = "Archive"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.raw.arn}/raw/*"]
  }

  statement {
    sid       = "Candles"
    actions   = ["dynamodb:GetItem", "dynamodb:PutItem"]
    resources = [aws_dynamodb_table.candles.arn]
  }

  # The processor reads and writes heartbeats, and notes for producers which versions of messages it
  # can read.
  statement {
    sid       = "Notes"
    actions   = ["dynamodb:GetItem", "dynamodb:PutItem"]
    resources = [aws_dynamodb_table.control.arn]

    condition {
      test     = "ForAllValues:StringEquals"
      variable = "dynamodb:LeadingKeys"
      values   = ["heartbeats", "function"]
    }
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.processor.arn}:*"]
  }

  # X-Ray knows no resources to name.
  statement {
    sid       = "Traces"
    actions   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
    resources = ["*"]
  }
}

resource "aws_iam_role" "producer" {
  name               = "${var.name}-producer"
  description        = "Permissions of a producer"
  assume_role_policy = data.aws_iam_policy_document.people.json
}

resource "aws_iam_role_policy" "producer" {
  name   = "producer"
  role   = aws_iam_role.producer.id
  policy = data.aws_iam_policy_document.producer.json
}

data "aws_iam_policy_document" "producer" {
  statement {
    sid       = "Send"
    actions   = ["sqs:SendMessage", "sqs:GetQueueAttributes"]
    resources = [aws_sqs_queue.trades.arn]
  }

  statement {
    sid       = "Primary"
    actions   = ["dynamodb:GetItem"]
    resources = [aws_dynamodb_table.control.arn]
  }
}

resource "aws_iam_role" "replicator" {
  name               = "${var.name}-replicator"
  description        = "Permissions of the replicator"
  assume_role_policy = data.aws_iam_policy_document.people.json
}

resource "aws_iam_role_policy" "replicator" {
  name   = "replicator"
  role   = aws_iam_role.replicator.id
  policy = data.aws_iam_policy_document.replicator.json
}

data "aws_iam_policy_document" "replicator" {
  statement {
    sid       = "Changes"
    actions   = ["dynamodb:DescribeStream", "dynamodb:GetShardIterator", "dynamodb:GetRecords"]
    resources = [aws_dynamodb_table.candles.stream_arn]
  }

  # DescribeTable names the stream. DeleteItem and DeleteObject are for wrong candles and raw
  # objects, which `mcloud verify --repair` and `mcloud resolve` back up before they delete them.
  statement {
    sid = "Candles"
    actions = [
      "dynamodb:DescribeTable",
      "dynamodb:GetItem",
      "dynamodb:PutItem",
      "dynamodb:DeleteItem",
      "dynamodb:Query",
    ]
    resources = [aws_dynamodb_table.candles.arn]
  }

  # DeleteItem removes silences, old entries of the audit log, and damaged documents of any kind
  # (`mcloud documents repair`).
  statement {
    sid = "Control"
    actions = [
      "dynamodb:GetItem",
      "dynamodb:PutItem",
      "dynamodb:DeleteItem",
      "dynamodb:Query",
    ]
    resources = [aws_dynamodb_table.control.arn]
  }

  # A guard, which uses this role, checks whether the function exists.
  statement {
    sid       = "Function"
    actions   = ["lambda:GetFunctionConfiguration"]
    resources = ["${local.functions_arn}:${local.processor}"]
  }

  # For dead letters, which return to the queue or are deleted, and for restores that send trades to
  # the functions.
  statement {
    sid       = "Send"
    actions   = ["sqs:SendMessage", "sqs:GetQueueAttributes"]
    resources = [aws_sqs_queue.trades.arn]
  }

  statement {
    sid = "DeadLetters"
    actions = [
      "sqs:ReceiveMessage",
      "sqs:DeleteMessage",
      "sqs:ChangeMessageVisibility",
      "sqs:GetQueueAttributes",
    ]
    resources = [aws_sqs_queue.dlq.arn]
  }

  statement {
    sid       = "Archive"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
    resources = ["${aws_s3_bucket.raw.arn}/raw/*"]
  }

  statement {
    sid       = "ArchiveKeys"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.raw.arn]
  }
}

resource "aws_iam_role" "operator" {
  name               = "${var.name}-operator"
  description        = "Permissions of an operator"
  assume_role_policy = data.aws_iam_policy_document.people.json
}

resource "aws_iam_role_policy" "operator" {
  name   = "operator"
  role   = aws_iam_role.operator.id
  policy = data.aws_iam_policy_document.operator.json
}

data "aws_iam_policy_document" "operator" {
  #checkov:skip=CKV_AWS_356:what it may read of "*" has no resource to name
  statement {
    sid       = "Depths"
    actions   = ["sqs:GetQueueAttributes"]
    resources = [aws_sqs_queue.trades.arn, aws_sqs_queue.dlq.arn]
  }

  # SQS shows the content of a message only to a receiver. Operators return it immediately.
  statement {
    sid       = "DeadLetters"
    actions   = ["sqs:ReceiveMessage", "sqs:ChangeMessageVisibility"]
    resources = [aws_sqs_queue.dlq.arn]
  }

  statement {
    sid       = "Function"
    actions   = ["lambda:GetFunctionConfiguration"]
    resources = ["${local.functions_arn}:${local.processor}"]
  }

  # `mcloud doctor` counts the concurrency that the site has reserved, and checks whether
  # `alert_email` has confirmed its subscription.
  statement {
    sid     = "Reserved"
    actions = ["lambda:GetFunctionConcurrency"]
    resources = [
      "${local.functions_arn}:${local.processor}",
      "${local.functions_arn}:${local.anomaly_name}",
      "${local.functions_arn}:${local.compact_name}",
    ]
  }

  statement {
    sid       = "AlertMail"
    actions   = ["sns:ListSubscriptionsByTopic"]
    resources = [aws_sns_topic.alerts.arn]
  }

  statement {
    sid       = "Tables"
    actions   = ["dynamodb:DescribeTable", "dynamodb:Query"]
    resources = [aws_dynamodb_table.candles.arn, aws_dynamodb_table.control.arn]
  }

  statement {
    sid       = "ControlRecord"
    actions   = ["dynamodb:GetItem"]
    resources = [aws_dynamodb_table.control.arn]
  }

  statement {
    sid       = "Archive"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.raw.arn}/raw/*"]
  }

  statement {
    sid       = "ArchiveKeys"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.raw.arn]
  }

  # `mcloud trace` searches the processor's log for a trade.
  statement {
    sid       = "Logs"
    actions   = ["logs:FilterLogEvents"]
    resources = ["${aws_cloudwatch_log_group.processor.arn}:*"]
  }

  # `mcloud doctor` checks the permissions of its own credentials.
  statement {
    sid       = "Oneself"
    actions   = ["iam:GetRole", "iam:SimulatePrincipalPolicy"]
    resources = [aws_iam_role.operator.arn]
  }

  # These actions on metrics, alarms, log groups, bills and quotas cannot be limited to a resource.
  statement {
    sid = "Metrics"
    actions = [
      "ce:GetCostAndUsage",
      "cloudwatch:DescribeAlarms",
      "cloudwatch:GetMetricData",
      "lambda:GetAccountSettings",
      "logs:DescribeLogGroups",
    ]
    resources = ["*"]
  }
}

# `mcloud alerts watch` runs as an operator, and a guard as the replicator.
resource "aws_iam_role_policy" "publisher" {
  for_each = toset(var.alert_publishers)

  name   = "alerts"
  role   = { operator = aws_iam_role.operator.id, replicator = aws_iam_role.replicator.id }[each.key]
  policy = data.aws_iam_policy_document.publisher.json
}

data "aws_iam_policy_document" "publisher" {
  statement {
    sid       = "Alert"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alerts.arn]
  }

  statement {
    sid       = "Encrypt"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.alerts.arn]
  }
}

resource "aws_iam_role" "anomaly" {
  count = local.anomaly

  name               = local.anomaly_name
  description        = "Permissions of the anomaly function"
  assume_role_policy = data.aws_iam_policy_document.lambda.json
}

resource "aws_iam_role_policy" "anomaly" {
  count = local.anomaly

  name   = "anomaly"
  role   = aws_iam_role.anomaly[0].id
  policy = data.aws_iam_policy_document.anomaly[0].json
}

data "aws_iam_policy_document" "anomaly" {
  count = local.anomaly

  statement {
    sid       = "Look"
    actions   = ["dynamodb:Query"]
    resources = [aws_dynamodb_table.candles.arn, aws_dynamodb_table.control.arn]
  }

  statement {
    sid       = "Keep"
    actions   = ["dynamodb:PutItem", "dynamodb:DeleteItem"]
    resources = [aws_dynamodb_table.control.arn]
  }

  statement {
    sid       = "Missed"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.missed["anomaly"].arn]
  }

  statement {
    sid       = "Alert"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alerts.arn]
  }

  statement {
    sid       = "Encrypt"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.alerts.arn]
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.anomaly[0].arn}:*"]
  }

  # X-Ray knows no resources to name.
  statement {
    sid       = "Traces"
    actions   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
    resources = ["*"]
  }
}

resource "aws_iam_role" "compact" {
  count = local.compact

  name               = local.compact_name
  description        = "What the compaction function may do"
  assume_role_policy = data.aws_iam_policy_document.lambda.json
}

resource "aws_iam_role_policy" "compact" {
  count = local.compact

  name   = "compact"
  role   = aws_iam_role.compact[0].id
  policy = data.aws_iam_policy_document.compact[0].json
}

data "aws_iam_policy_document" "compact" {
  count = local.compact

  statement {
    sid       = "Archive"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
    resources = ["${aws_s3_bucket.raw.arn}/raw/*"]
  }

  statement {
    sid       = "ArchiveKeys"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.raw.arn]
  }

  # The note of what it did, with which the next call continues.
  statement {
    sid       = "Note"
    actions   = ["dynamodb:GetItem", "dynamodb:PutItem"]
    resources = [aws_dynamodb_table.control.arn]

    condition {
      test     = "ForAllValues:StringEquals"
      variable = "dynamodb:LeadingKeys"
      values   = ["compaction"]
    }
  }

  # Lambda wants it for the queue of failed calls, when it makes the function.
  statement {
    sid       = "Missed"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.missed["compact"].arn]
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.compact[0].arn}:*"]
  }

  # X-Ray knows no resources to name.
  statement {
    sid       = "Traces"
    actions   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
    resources = ["*"]
  }
}

resource "aws_iam_role" "scheduler" {
  count = min(1, length(local.scheduled))

  name               = "${var.name}-scheduler"
  description        = "Calls the functions that have a schedule"
  assume_role_policy = data.aws_iam_policy_document.scheduler_trust.json
}

resource "aws_iam_role_policy" "scheduler" {
  count = min(1, length(local.scheduled))

  name   = "scheduler"
  role   = aws_iam_role.scheduler[0].id
  policy = data.aws_iam_policy_document.scheduler[0].json
}

data "aws_iam_policy_document" "scheduler" {
  count = min(1, length(local.scheduled))

  statement {
    sid       = "Call"
    actions   = ["lambda:InvokeFunction"]
    resources = [for each in local.scheduled : "${local.functions_arn}:${var.name}-${each}"]
  }

  statement {
    sid       = "Missed"
    actions   = ["sqs:SendMessage"]
    resources = [for each in local.scheduled : aws_sqs_queue.missed[each].arn]
  }
}

data "aws_iam_policy_document" "lambda" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "scheduler_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

data "aws_iam_policy_document" "people" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = coalescelist(var.trusted_principals, ["arn:${local.partition}:iam::${local.account}:root"])
    }
  }
}
