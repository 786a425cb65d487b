output "region" {
  description = "Region of all resources of the stack."
  value       = var.region
}

output "queue_url" {
  description = "URL of the queue for trades."
  value       = aws_sqs_queue.trades.url
}

output "dlq_url" {
  description = "URL of the dead-letter queue."
  value       = aws_sqs_queue.dlq.url
}

output "candles_table" {
  description = "Name of the table of candles."
  value       = aws_dynamodb_table.candles.name
}

output "control_table" {
  description = "Name of the table of heartbeats and the control record."
  value       = aws_dynamodb_table.control.name
}

output "raw_bucket" {
  description = "Name of the bucket of raw trades."
  value       = aws_s3_bucket.raw.bucket
}

output "staging_bucket" {
  description = "Bucket of staged objects: trades that compaction has not moved to the raw bucket yet."
  value       = aws_s3_bucket.staging.bucket
}

output "delivery_stream" {
  description = "Stream of Data Firehose that writes staged objects."
  value       = aws_kinesis_firehose_delivery_stream.trades.name
}

output "freshness" {
  description = "Seconds that a candle may be old, as the stack is set up for."
  value       = tostring(var.freshness)
}

output "alerts_key" {
  description = "KMS key that encrypts alerts; empty if there is none."
  value       = join("", aws_kms_key.alerts[*].arn)
}

output "function" {
  description = "Name of the processor."
  value       = aws_lambda_function.processor.function_name
}

output "scheduled_functions" {
  description = "Comma-separated names of the functions that are called on a schedule."
  value       = join(",", sort([for each in aws_lambda_function.scheduled : each.function_name]))
}

output "processor_role_arn" {
  description = "Role of the processor."
  value       = aws_iam_role.processor.arn
}

output "producer_role_arn" {
  description = "Role for producers: sends to the queue."
  value       = aws_iam_role.producer.arn
}

output "replicator_role_arn" {
  description = "Role for the replicator: reads and writes candles, control records and raw trades."
  value       = aws_iam_role.replicator.arn
}

output "operator_role_arn" {
  description = "Role for operators: reads everything and changes nothing."
  value       = aws_iam_role.operator.arn
}
