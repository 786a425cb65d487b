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

output "freshness" {
  description = "Seconds that a candle may be old, as the stack is set up for."
  value       = tostring(var.freshness)
}

output "function" {
  description = "Name of the processor."
  value       = aws_lambda_function.processor.function_name
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
