# Alarms, and the topic that delivers them.

locals {
  # Each alarm compares the worst period of a metric, by default a minute, with a limit.
  alarms = merge(local.alarms_of_trades, local.alarms_of_scheduled)

  alarms_of_trades = {
    dead-letters = {
      description = "Messages that could not be processed wait in the dead-letter queue."
      namespace   = "AWS/SQS"
      metric      = "ApproximateNumberOfMessagesVisible"
      statistic   = "Maximum"
      above       = 0
      dimensions  = { QueueName = aws_sqs_queue.dlq.name }
    }
    message-age = {
      description = "The oldest message has waited for too long: the processor does not keep up, or is down."
      namespace   = "AWS/SQS"
      metric      = "ApproximateAgeOfOldestMessage"
      statistic   = "Maximum"
      above       = var.max_message_age
      dimensions  = { QueueName = aws_sqs_queue.trades.name }
    }
    function-errors = {
      description = "The processor fails. Its messages are retried, and become dead letters in the end."
      namespace   = "AWS/Lambda"
      metric      = "Errors"
      statistic   = "Sum"
      above       = 0
      dimensions  = { FunctionName = aws_lambda_function.processor.function_name }
    }
    function-throttles = {
      description = "The processor is throttled: it may not run as often as the queue needs it."
      namespace   = "AWS/Lambda"
      metric      = "Throttles"
      statistic   = "Sum"
      above       = 0
      dimensions  = { FunctionName = aws_lambda_function.processor.function_name }
    }
    staging-age = {
      description = "Data Firehose cannot write trades to the staging bucket. It keeps them for 24 hours, and then loses them: run `mcloud verify --repair` after that."
      namespace   = "AWS/Firehose"
      metric      = "DeliveryToS3.DataFreshness"
      statistic   = "Maximum"
      above       = 2 * local.staging_window
      dimensions  = { DeliveryStreamName = aws_kinesis_firehose_delivery_stream.trades.name }
    }
    candles-throttles = {
      description = "Writes of candles are throttled: there are too many at once, or too many for one symbol."
      namespace   = "AWS/DynamoDB"
      metric      = "WriteThrottleEvents"
      statistic   = "Sum"
      above       = 0
      dimensions  = { TableName = aws_dynamodb_table.candles.name }
    }
    control-throttles = {
      description = "Writes of heartbeats and control records are throttled."
      namespace   = "AWS/DynamoDB"
      metric      = "WriteThrottleEvents"
      statistic   = "Sum"
      above       = 0
      dimensions  = { TableName = aws_dynamodb_table.control.name }
    }
  }

  alarms_of_scheduled = {
    for name, function in local.scheduled : "${name}-errors" => {
      description = function.errors
      namespace   = "AWS/Lambda"
      metric      = "Errors"
      statistic   = "Sum"
      above       = 0
      dimensions  = { FunctionName = "${var.name}-${name}" }
      period      = function.period
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.above
  period              = try(each.value.period, 60)
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alerts.arn]
  ok_actions          = [aws_sns_topic.alerts.arn]
}

# Counts the stored trades in the processor's log. The number of its calls would not show a dead
# producer, because the canaries of a guard are calls as well. A custom metric costs $0.30 per month
# after the first ten, and the filter is free: https://aws.amazon.com/cloudwatch/pricing (2026-11).
resource "aws_cloudwatch_log_metric_filter" "stored" {
  count = var.max_silence == null ? 0 : 1

  name           = "${var.name}-stored"
  log_group_name = aws_cloudwatch_log_group.processor.name
  pattern        = "{ $.message = \"stored\" && $.symbol != \"MCLOUDCANARY\" }"

  metric_transformation {
    namespace = var.name
    name      = "TradesStored"
    value     = "$.trades"
  }
}

# A minute without a trade has no value, so missing data counts as breaching.
resource "aws_cloudwatch_metric_alarm" "silence" {
  count = var.max_silence == null ? 0 : 1

  alarm_name          = "${var.name}-silence"
  alarm_description   = "The processor has not stored a trade for a while: no trades arrive here. Canaries do not count."
  namespace           = aws_cloudwatch_log_metric_filter.stored[0].metric_transformation[0].namespace
  metric_name         = aws_cloudwatch_log_metric_filter.stored[0].metric_transformation[0].name
  statistic           = "Sum"
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = 60
  evaluation_periods  = var.max_silence / 60
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alerts.arn]
  ok_actions          = [aws_sns_topic.alerts.arn]
}

resource "aws_sns_topic" "alerts" {
  #checkov:skip=CKV_AWS_26:a key costs more than the rest of an idle stack, see alerts_key; an alert has names and numbers, nothing secret
  name              = "${var.name}-alerts"
  kms_master_key_id = one(aws_kms_key.alerts[*].arn)
}

resource "aws_sns_topic_subscription" "email" {
  count = var.alert_email == null ? 0 : 1

  topic_arn = aws_sns_topic.alerts.arn
  protocol  = "email"
  endpoint  = var.alert_email
}

resource "aws_sns_topic_policy" "alerts" {
  arn    = aws_sns_topic.alerts.arn
  policy = data.aws_iam_policy_document.alerts_topic.json
}

data "aws_iam_policy_document" "alerts_topic" {
  statement {
    sid       = "AlarmsAndBudgets"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alerts.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alerts.arn]

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

# An encrypted topic needs a key of the stack, because CloudWatch and Budgets may not use the key that
# AWS manages for SNS.
resource "aws_kms_key" "alerts" {
  count = var.alerts_key ? 1 : 0

  description         = "Alerts of the stack ${var.name}"
  enable_key_rotation = true
  policy              = data.aws_iam_policy_document.alerts_key.json
}

resource "aws_kms_alias" "alerts" {
  count = var.alerts_key ? 1 : 0

  name          = "alias/${var.name}-alerts"
  target_key_id = aws_kms_key.alerts[0].key_id
}

data "aws_iam_policy_document" "alerts_key" {
  #checkov:skip=CKV_AWS_109:in the policy of a key "*" is that key
  #checkov:skip=CKV_AWS_111:in the policy of a key "*" is that key
  #checkov:skip=CKV_AWS_356:in the policy of a key "*" is that key
  # Without this statement for the account, nobody could manage the key.
  statement {
    sid       = "Account"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }

  statement {
    sid       = "AlarmsAndBudgets"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}
