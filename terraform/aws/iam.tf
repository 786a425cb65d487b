# One role a component, each with the calls that its code makes and no other.

locals {
  # Not read off the functions: a plan that changes their code would show the policies as changed too.
  functions_arn = "arn:${local.partition}:lambda:${var.region}:${local.account}:function"
}

resource "aws_iam_role" "processor" {
  name               = local.processor
  description        = "What the processor may do"
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

  # What is left of a message, where the time ran out, goes back to the queue as a new message.
  statement {
    sid       = "SendBack"
    actions   = ["sqs:GetQueueUrl", "sqs:SendMessage"]
    resources = [aws_sqs_queue.trades.arn]
  }

  # Lambda wants it for the queue of failed calls, when it makes the function.
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

  # Heartbeats, which it reads and writes, and the versions of messages that it reads, for producers.
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
  description        = "What a producer may do"
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
  description        = "What the replicator may do"
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

  # DescribeTable names the stream. DeleteItem is for candles and DeleteObject for raw objects that
  # should never have been there: `mcloud verify --repair` and `mcloud resolve` back them up first.
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

  # Removes silences, old entries of the audit, and with `mcloud documents repair` damaged documents
  # of any kind.
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

  # A guard, which runs as the replicator, looks whether the function is there.
  statement {
    sid       = "Function"
    actions   = ["lambda:GetFunctionConfiguration"]
    resources = ["${local.functions_arn}:${local.processor}"]
  }

  # Dead letters go back to the queue or away; so do trades that a restore has the functions do.
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
  description        = "What an operator may look at"
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

  # SQS shows a message only to those who receive it; it is given back at once.
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

  # `mcloud doctor` counts what the site has reserved, and looks whether `alert_email` has confirmed.
  statement {
    sid     = "Reserved"
    actions = ["lambda:GetFunctionConcurrency"]
    resources = [
      "${local.functions_arn}:${local.processor}",
      "${local.functions_arn}:${local.anomaly_name}",
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

  # `mcloud trace` looks for a trade in what the processor wrote.
  statement {
    sid       = "Logs"
    actions   = ["logs:FilterLogEvents"]
    resources = ["${aws_cloudwatch_log_group.processor.arn}:*"]
  }

  # What `mcloud doctor` asks about itself.
  statement {
    sid       = "Oneself"
    actions   = ["iam:GetRole", "iam:SimulatePrincipalPolicy"]
    resources = [aws_iam_role.operator.arn]
  }

  # Metrics, alarms, log groups, bills and an account's quotas are no resources to name.
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
  description        = "What the anomaly function may do"
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
    resources = [aws_sqs_queue.missed[0].arn]
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

resource "aws_iam_role" "scheduler" {
  count = local.anomaly

  name               = "${var.name}-scheduler"
  description        = "Calls the anomaly function"
  assume_role_policy = data.aws_iam_policy_document.scheduler_trust.json
}

resource "aws_iam_role_policy" "scheduler" {
  count = local.anomaly

  name   = "scheduler"
  role   = aws_iam_role.scheduler[0].id
  policy = data.aws_iam_policy_document.scheduler[0].json
}

data "aws_iam_policy_document" "scheduler" {
  count = local.anomaly

  statement {
    sid       = "Call"
    actions   = ["lambda:InvokeFunction"]
    resources = ["${local.functions_arn}:${local.anomaly_name}"]
  }

  statement {
    sid       = "Missed"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.missed[0].arn]
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
