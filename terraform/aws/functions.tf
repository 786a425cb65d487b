# The processor, fed by the queue, and the anomaly and the compaction function, called on schedules.

locals {
  processor    = "${var.name}-processor"
  anomaly_name = "${var.name}-anomaly"
  compact_name = "${var.name}-compact"
}

resource "aws_lambda_function" "processor" {
  #checkov:skip=CKV_AWS_117:it calls nothing but public AWS endpoints; a VPC would add a NAT gateway or four interface endpoints
  #checkov:skip=CKV_AWS_173:the variables are names of resources, nothing secret
  #checkov:skip=CKV_AWS_272:the deployer builds the zip and uploads it in one step
  function_name    = local.processor
  description      = "Archives trades and folds them into candles"
  role             = aws_iam_role.processor.arn
  handler          = "processor.handler"
  runtime          = "python3.13"
  architectures    = ["arm64"]
  filename         = var.bundle
  source_code_hash = filebase64sha256(var.bundle)
  timeout          = var.function_timeout
  memory_size      = var.function_memory

  reserved_concurrent_executions = var.reserve_concurrency ? var.function_concurrency : -1

  environment {
    variables = {
      RAW_BUCKET    = aws_s3_bucket.raw.bucket
      CANDLES_TABLE = aws_dynamodb_table.candles.name
      CONTROL_TABLE = aws_dynamodb_table.control.name
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

resource "aws_lambda_function" "anomaly" {
  #checkov:skip=CKV_AWS_117:it calls nothing but public AWS endpoints; a VPC would add a NAT gateway or four interface endpoints
  #checkov:skip=CKV_AWS_173:the variables are names of resources, nothing secret
  #checkov:skip=CKV_AWS_272:the deployer builds the zip and uploads it in one step
  count = local.anomaly

  function_name    = local.anomaly_name
  description      = "Searches candles for unusual prices and volumes"
  role             = aws_iam_role.anomaly[0].arn
  handler          = "anomalies.handler"
  runtime          = "python3.13"
  architectures    = ["arm64"]
  filename         = var.bundle
  source_code_hash = filebase64sha256(var.bundle)
  timeout          = var.function_timeout
  memory_size      = var.function_memory

  # Only one check runs at a time.
  reserved_concurrent_executions = var.reserve_concurrency ? 1 : -1

  environment {
    variables = {
      CANDLES_TABLE      = aws_dynamodb_table.candles.name
      CONTROL_TABLE      = aws_dynamodb_table.control.name
      ALERTS_TOPIC       = aws_sns_topic.alerts.arn
      ANOMALY_THRESHOLDS = jsonencode(var.anomaly_thresholds)
    }
  }

  # Failed calls do not go to the topic of the alerts: there is one per minute, and an alarm reports
  # the problem once.
  dead_letter_config {
    target_arn = aws_sqs_queue.missed["anomaly"].arn
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.anomaly[0].name
  }

  # The producer decides which messages are traced. "Active" would trace every call at low rates,
  # and Lambda's share cannot be set.
  tracing_config {
    mode = "PassThrough"
  }

  depends_on = [aws_iam_role_policy.anomaly]
}

resource "aws_cloudwatch_log_group" "anomaly" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts it with its own key, and nothing secret is logged
  #checkov:skip=CKV_AWS_338:log_retention says how long; what happened is in the raw archive
  count = local.anomaly

  name              = "/aws/lambda/${local.anomaly_name}"
  retention_in_days = var.log_retention
}

# The next check makes up for a failed one. Retries would only run at the same time as later checks.
resource "aws_lambda_function_event_invoke_config" "anomaly" {
  count = local.anomaly

  function_name                = aws_lambda_function.anomaly[0].function_name
  maximum_event_age_in_seconds = 60
  maximum_retry_attempts       = 0
}

resource "aws_lambda_function" "compact" {
  #checkov:skip=CKV_AWS_117:it calls nothing but public AWS endpoints; a VPC would add a NAT gateway or four interface endpoints
  #checkov:skip=CKV_AWS_173:the variables are names of resources, nothing secret
  #checkov:skip=CKV_AWS_272:the deployer builds the zip and uploads it in one step
  count = local.compact

  function_name    = local.compact_name
  description      = "Puts the small objects of the raw archive into large blocks"
  role             = aws_iam_role.compact[0].arn
  handler          = "compaction.handler"
  runtime          = "python3.13"
  architectures    = ["arm64"]
  filename         = var.bundle
  source_code_hash = filebase64sha256(var.bundle)
  # It stops before the timeout, and the next call continues. The memory holds the trades and blocks
  # of one part, see mcloud/archive/compact.py.
  timeout     = 900
  memory_size = 1024

  # One compaction at a time. Two at once would do no harm.
  reserved_concurrent_executions = var.reserve_concurrency ? 1 : -1

  environment {
    variables = {
      RAW_BUCKET    = aws_s3_bucket.raw.bucket
      CONTROL_TABLE = aws_dynamodb_table.control.name
    }
  }

  dead_letter_config {
    target_arn = aws_sqs_queue.missed["compact"].arn
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.compact[0].name
  }

  tracing_config {
    mode = "PassThrough"
  }

  depends_on = [aws_iam_role_policy.compact]
}

resource "aws_cloudwatch_log_group" "compact" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts it with its own key, and nothing secret is logged
  #checkov:skip=CKV_AWS_338:log_retention says how long; what happened is in the raw archive
  count = local.compact

  name              = "/aws/lambda/${local.compact_name}"
  retention_in_days = var.log_retention
}

# The next call tries again what failed.
resource "aws_lambda_function_event_invoke_config" "compact" {
  count = local.compact

  function_name                = aws_lambda_function.compact[0].function_name
  maximum_event_age_in_seconds = 3600
  maximum_retry_attempts       = 0
}
