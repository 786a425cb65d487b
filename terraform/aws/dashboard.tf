resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = [
      for index, chart in concat(local.charts, local.charts_of_scheduled) : {
        type   = "metric"
        x      = 12 * (index % 2)
        y      = 6 * floor(index / 2)
        width  = 12
        height = 6
        properties = {
          title   = chart.title
          region  = var.region
          view    = "timeSeries"
          period  = 60
          metrics = chart.metrics
        }
      }
    ]
  })
}

locals {
  charts = [
    {
      title = "Messages waiting"
      metrics = [
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", aws_sqs_queue.trades.name, { stat = "Maximum", label = "waiting" }],
        ["AWS/SQS", "ApproximateNumberOfMessagesNotVisible", "QueueName", aws_sqs_queue.trades.name, { stat = "Maximum", label = "in work" }],
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", aws_sqs_queue.dlq.name, { stat = "Maximum", label = "dead letters" }],
      ]
    },
    {
      title = "Age of the oldest message, seconds"
      metrics = [
        ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", aws_sqs_queue.trades.name, { stat = "Maximum", label = "age" }],
        ["AWS/Firehose", "DeliveryToS3.DataFreshness", "DeliveryStreamName", aws_kinesis_firehose_delivery_stream.trades.name, { stat = "Maximum", label = "age until staged" }],
      ]
    },
    {
      title = "Processor calls"
      metrics = [
        ["AWS/Lambda", "Invocations", "FunctionName", local.processor, { stat = "Sum", label = "calls" }],
        ["AWS/Lambda", "Errors", "FunctionName", local.processor, { stat = "Sum", label = "errors" }],
        ["AWS/Lambda", "Throttles", "FunctionName", local.processor, { stat = "Sum", label = "throttled" }],
      ]
    },
    {
      title = "Processor duration, ms"
      metrics = [
        ["AWS/Lambda", "Duration", "FunctionName", local.processor, { stat = "p50", label = "median" }],
        ["AWS/Lambda", "Duration", "FunctionName", local.processor, { stat = "p95", label = "95 of 100" }],
      ]
    },
    {
      title = "Candle writes, units"
      metrics = [
        ["AWS/DynamoDB", "ConsumedWriteCapacityUnits", "TableName", aws_dynamodb_table.candles.name, { stat = "Sum", label = "written" }],
        ["AWS/DynamoDB", "WriteThrottleEvents", "TableName", aws_dynamodb_table.candles.name, { stat = "Sum", label = "throttled" }],
      ]
    },
    {
      title = "Trade messages sent"
      metrics = [
        ["AWS/SQS", "NumberOfMessagesSent", "QueueName", aws_sqs_queue.trades.name, { stat = "Sum", label = "sent" }],
      ]
    },
  ]

  charts_of_scheduled = [
    for name, function in local.scheduled : {
      title = "${function.title} calls"
      metrics = [
        ["AWS/Lambda", "Invocations", "FunctionName", "${var.name}-${name}", { stat = "Sum", label = "calls" }],
        ["AWS/Lambda", "Errors", "FunctionName", "${var.name}-${name}", { stat = "Sum", label = "errors" }],
      ]
    }
  ]
}
