# The processor, fed by the queue, and the functions that are called on schedules.

locals {
  processor = "${var.name}-processor"

  # All functions that a stack can have. Those that are switched off have no more than permissions.
  functions = [local.processor, "${var.name}-anomaly", "${var.name}-compact"]

  # The provider updates the code of a function when this value changes.
  code = "${filebase64sha256(var.bundle)} ${terraform_data.build.input}"

  # Functions that are called on a schedule, by name. Durations are in seconds, and memory is in
  # MiB.
  scheduled = {
    for name, function in {
      anomaly = {
        is_wanted   = var.anomalies
        title       = "Anomaly function"
        description = "Sends the anomalies that producers have found"
        role        = "Permissions of the anomaly function"
        handler     = "anomalies.handler"
        timeout     = var.function_timeout
        memory      = var.function_memory
        # The next call makes up for a failed one. Retries would only run at the same time as later
        # calls.
        max_event_age = 60

        schedule = var.anomaly_schedule
        calls    = "Calls the anomaly function"
        # A late call is useless, because the next one makes up for it.
        max_call_age = 60
        retries      = 2

        errors = "The anomaly function fails: anomalies are not sent until it works again."
        period = 60
      }
      compact = {
        is_wanted   = var.compaction
        title       = "Compaction function"
        description = "Puts staged trades and small objects of the raw archive into large blocks"
        role        = "What the compaction function may do"
        handler     = "compaction.handler"
        # It stops before the timeout, and the next call continues. The memory holds the trades and
        # blocks of one part, see mcloud/archive/compact.py.
        timeout = 900
        memory  = 1024
        # The next call tries again what failed.
        max_event_age = 3600

        schedule     = var.compaction_schedule
        calls        = "Calls the compaction function"
        max_call_age = 1800
        retries      = 5

        errors = "The compaction function fails, or cannot move the trades of an object to a block; its log names it. Trades stay in the staging bucket until then."
        period = 3600 # it runs once in this time, and the alarm stays until a run succeeds
      }
    } : name => function if function.is_wanted
  }
}

# The provider regards code as deployed whose update failed. mcloud then replaces this value, so that
# the functions are updated again. This happens in place: their permissions, triggers and settings
# are kept, and the earlier code serves until then.
resource "terraform_data" "build" {
  input = formatdate("YYYYMMDDhhmmss", plantimestamp())

  lifecycle {
    ignore_changes = [input]
  }
}

resource "aws_lambda_function" "processor" {
  #checkov:skip=CKV_AWS_117:it calls nothing but public AWS endpoints; a VPC would add a NAT gateway or four interface endpoints
  #checkov:skip=CKV_AWS_173:the variables are names of resources, nothing secret
  #checkov:skip=CKV_AWS_272:the deployer builds the zip and uploads it in one step
  function_name    = local.processor
  description      = "Hands trades over to Data Firehose and folds them into candles"
  role             = aws_iam_role.processor.arn
  handler          = "processor.handler"
  runtime          = "python3.13"
  architectures    = ["arm64"]
  filename         = var.bundle
  source_code_hash = local.code
  timeout          = var.function_timeout
  memory_size      = var.function_memory

  reserved_concurrent_executions = var.reserve_concurrency ? var.function_concurrency : -1

  environment {
    variables = {
      DELIVERY_STREAM = aws_kinesis_firehose_delivery_stream.trades.name
      CANDLES_TABLE   = aws_dynamodb_table.candles.name
      CONTROL_TABLE   = aws_dynamodb_table.control.name
    }
  }

  # For events that somebody sends without the queue. Failed messages of the queue return to the
  # queue.
  dead_letter_config {
    target_arn = aws_sqs_queue.dlq.arn
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.processor.name
  }

  # The producer decides which messages are traced. "Active" would trace every call at low rates,
  # and Lambda's share cannot be set.
  tracing_config {
    mode = "PassThrough"
  }

  depends_on = [aws_iam_role_policy.processor]
}

resource "aws_lambda_event_source_mapping" "trades" {
  event_source_arn                   = aws_sqs_queue.trades.arn
  function_name                      = aws_lambda_function.processor.arn
  batch_size                         = 100
  maximum_batching_window_in_seconds = coalesce(var.batch_window, max(1, min(5, floor(var.freshness / 30))))
  function_response_types            = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = var.function_concurrency
  }
}

resource "aws_cloudwatch_log_group" "processor" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts it with its own key, and nothing secret is logged
  #checkov:skip=CKV_AWS_338:log_retention says how long; what happened is in the raw archive
  name              = "/aws/lambda/${local.processor}"
  retention_in_days = var.log_retention
}

resource "aws_lambda_function" "scheduled" {
  #checkov:skip=CKV_AWS_117:it calls nothing but public AWS endpoints; a VPC would add a NAT gateway or four interface endpoints
  #checkov:skip=CKV_AWS_173:the variables are names of resources, nothing secret
  #checkov:skip=CKV_AWS_272:the deployer builds the zip and uploads it in one step
  for_each = local.scheduled

  function_name    = "${var.name}-${each.key}"
  description      = each.value.description
  role             = aws_iam_role.scheduled[each.key].arn
  handler          = each.value.handler
  runtime          = "python3.13"
  architectures    = ["arm64"]
  filename         = var.bundle
  source_code_hash = local.code
  timeout          = each.value.timeout
  memory_size      = each.value.memory

  # Only one call runs at a time. Two compactions at once would do no harm.
  reserved_concurrent_executions = var.reserve_concurrency ? 1 : -1

  environment {
    variables = merge(
      {
        CONTROL_TABLE = aws_dynamodb_table.control.name
      },
      {
        anomaly = {
          ALERTS_TOPIC = aws_sns_topic.alerts.arn
        }
        compact = {
          RAW_BUCKET     = aws_s3_bucket.raw.bucket
          STAGING_BUCKET = aws_s3_bucket.staging.bucket
        }
      }[each.key],
    )
  }

  # Failed calls do not go to the topic of the alerts: there may be one per minute, and an alarm
  # reports the problem once.
  dead_letter_config {
    target_arn = aws_sqs_queue.missed[each.key].arn
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.scheduled[each.key].name
  }

  # The producer decides which messages are traced. "Active" would trace every call at low rates,
  # and Lambda's share cannot be set.
  tracing_config {
    mode = "PassThrough"
  }

  depends_on = [aws_iam_role_policy.scheduled]
}

resource "aws_cloudwatch_log_group" "scheduled" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts it with its own key, and nothing secret is logged
  #checkov:skip=CKV_AWS_338:log_retention says how long; what happened is in the raw archive
  for_each = local.scheduled

  name              = "/aws/lambda/${var.name}-${each.key}"
  retention_in_days = var.log_retention
}

resource "aws_lambda_function_event_invoke_config" "scheduled" {
  for_each = local.scheduled

  function_name                = aws_lambda_function.scheduled[each.key].function_name
  maximum_event_age_in_seconds = each.value.max_event_age
  maximum_retry_attempts       = 0
}
