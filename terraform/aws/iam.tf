# One role for each component, which allows exactly the calls that its code makes.

locals {
  # The ARNs are not taken from the functions, because a plan that changes their code would then
  # also show changes of the policies.
  functions_arn = "arn:${local.partition}:lambda:${var.region}:${local.account}:function"
  function_arns = [for name in local.functions : "${local.functions_arn}:${name}"]
  logs_arn      = "arn:${local.partition}:logs:${var.region}:${local.account}:log-group:/aws/lambda"
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
    sid       = "Stage"
    actions   = ["firehose:PutRecordBatch"]
    resources = [aws_kinesis_firehose_delivery_stream.trades.arn]
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

  # A producer compares the first minutes of a run with the candles before them.
  statement {
    sid       = "History"
    actions   = ["dynamodb:Query"]
    resources = [aws_dynamodb_table.candles.arn]
  }

  # It stores the anomalies that it finds, and notes for the anomaly function to send them.
  statement {
    sid       = "Anomalies"
    actions   = ["dynamodb:PutItem"]
    resources = [aws_dynamodb_table.control.arn]

    condition {
      test     = "ForAllValues:StringEquals"
      variable = "dynamodb:LeadingKeys"
      values   = ["anomaly", "anomaly-untold"]
    }
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

  # A guard, which uses this role, checks whether the processor exists, and `mcloud status` looks at
  # the code of all functions.
  statement {
    sid       = "Functions"
    actions   = ["lambda:GetFunctionConfiguration"]
    resources = local.function_arns
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
    resources = [aws_s3_bucket.raw.arn, aws_s3_bucket.staging.arn]
  }

  # Compaction removes staged objects, and keeps lines in them that are no messages.
  statement {
    sid       = "Staged"
    actions   = ["s3:GetObject", "s3:DeleteObject"]
    resources = ["${aws_s3_bucket.staging.arn}/staged/*"]
  }

  statement {
    sid       = "Foreign"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.staging.arn}/foreign/*"]
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

  # The code of the functions, and the concurrency that they have reserved.
  statement {
    sid       = "Functions"
    actions   = ["lambda:GetFunctionConfiguration", "lambda:GetFunctionConcurrency"]
    resources = local.function_arns
  }

  # `mcloud doctor` checks whether `alert_email` has confirmed its subscription.
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
    sid       = "Staged"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.staging.arn}/staged/*"]
  }

  statement {
    sid       = "ArchiveKeys"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.raw.arn, aws_s3_bucket.staging.arn]
  }

  # `mcloud trace` searches the processor's log for a trade, and `mcloud logs` reads all of them.
  statement {
    sid       = "Logs"
    actions   = ["logs:FilterLogEvents"]
    resources = [for name in local.functions : "${local.logs_arn}/${name}:*"]
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
  source_policy_documents = data.aws_iam_policy_document.encrypt[*].json

  statement {
    sid       = "Alert"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alerts.arn]
  }
}

data "aws_iam_policy_document" "encrypt" {
  count = var.alerts_key ? 1 : 0

  statement {
    sid       = "Encrypt"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.alerts[0].arn]
  }
}

resource "aws_iam_role" "scheduled" {
  for_each = local.scheduled

  name               = "${var.name}-${each.key}"
  description        = each.value.role
  assume_role_policy = data.aws_iam_policy_document.lambda.json
}

resource "aws_iam_role_policy" "scheduled" {
  for_each = local.scheduled

  name   = each.key
  role   = aws_iam_role.scheduled[each.key].id
  policy = data.aws_iam_policy_document.scheduled[each.key].json
}

data "aws_iam_policy_document" "scheduled" {
  for_each = local.scheduled

  source_policy_documents = [
    {
      anomaly = data.aws_iam_policy_document.anomaly.json
      compact = data.aws_iam_policy_document.compact.json
    }[each.key]
  ]

  # Lambda requires this for the queue of failed calls when it creates the function.
  statement {
    sid       = "Missed"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.missed[each.key].arn]
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.scheduled[each.key].arn}:*"]
  }

  # X-Ray knows no resources to name.
  statement {
    sid       = "Traces"
    actions   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
    resources = ["*"]
  }
}

data "aws_iam_policy_document" "anomaly" {
  source_policy_documents = [data.aws_iam_policy_document.publisher.json]

  # It reads and deletes the notes of anomalies to send, old anomalies, and what earlier releases
  # have left.
  statement {
    sid       = "Anomalies"
    actions   = ["dynamodb:Query", "dynamodb:DeleteItem"]
    resources = [aws_dynamodb_table.control.arn]

    condition {
      test     = "ForAllValues:StringEquals"
      variable = "dynamodb:LeadingKeys"
      values   = ["anomaly", "anomaly-untold", "anomaly-watch"]
    }
  }
}

data "aws_iam_policy_document" "compact" {
  statement {
    sid       = "Archive"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
    resources = ["${aws_s3_bucket.raw.arn}/raw/*"]
  }

  statement {
    sid       = "ArchiveKeys"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.raw.arn, aws_s3_bucket.staging.arn]
  }

  # Lines that are no messages are kept.
  statement {
    sid       = "Staged"
    actions   = ["s3:GetObject", "s3:DeleteObject"]
    resources = ["${aws_s3_bucket.staging.arn}/staged/*"]
  }

  statement {
    sid       = "Foreign"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.staging.arn}/foreign/*"]
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
}

# Firehose writes as this role.
resource "aws_iam_role" "delivery" {
  name               = "${local.stream_name}-delivery"
  description        = "Writes staged objects"
  assume_role_policy = data.aws_iam_policy_document.delivery_trust.json
}

resource "aws_iam_role_policy" "delivery" {
  name   = "delivery"
  role   = aws_iam_role.delivery.id
  policy = data.aws_iam_policy_document.delivery.json
}

# https://docs.aws.amazon.com/firehose/latest/dev/controlling-access.html#using-iam-s3
data "aws_iam_policy_document" "delivery" {
  statement {
    sid       = "Objects"
    actions   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
    resources = ["${aws_s3_bucket.staging.arn}/*"]
  }

  statement {
    sid       = "Bucket"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
    resources = [aws_s3_bucket.staging.arn]
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.delivery.arn}:log-stream:*"]
  }
}

data "aws_iam_policy_document" "delivery_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["firehose.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "sts:ExternalId"
      values   = [local.account]
    }
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
    resources = [for name, _ in local.scheduled : "${local.functions_arn}:${var.name}-${name}"]
  }

  statement {
    sid       = "Missed"
    actions   = ["sqs:SendMessage"]
    resources = [for name, _ in local.scheduled : aws_sqs_queue.missed[name].arn]
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
