output "project" {
  description = "Project of all resources of the stack."
  value       = var.project
}

output "region" {
  description = "Region of all resources of the stack."
  value       = var.region
}

output "topic" {
  description = "Topic for trades."
  value       = google_pubsub_topic.trades.name
}

output "subscription" {
  description = "Subscription that pushes trades to the processor."
  value       = google_pubsub_subscription.processor.name
}

output "dlq_topic" {
  description = "Topic for dead letters."
  value       = google_pubsub_topic.dlq.name
}

output "dlq_subscription" {
  description = "Subscription that keeps the dead letters."
  value       = google_pubsub_subscription.dlq.name
}

output "database" {
  description = "Firestore database."
  value       = google_firestore_database.this.name
}

output "candles_collection" {
  description = "Firestore collection of candles."
  value       = local.candles_collection
}

output "control_collection" {
  description = "Firestore collection of heartbeats and the control record."
  value       = local.control_collection
}

output "raw_bucket" {
  description = "Name of the bucket of raw trades."
  value       = google_storage_bucket.raw.name
}

output "staging_bucket" {
  description = "Bucket of staged objects: trades that compaction has not moved to the raw bucket yet."
  value       = google_storage_bucket.staging.name
}

output "export_subscription" {
  description = "Subscription that writes staged objects."
  value       = google_pubsub_subscription.export.name
}

output "function" {
  description = "Name of the processor."
  value       = google_cloudfunctions2_function.processor.name
}

output "scheduled_functions" {
  description = "Comma-separated names of the functions that are called on a schedule."
  value       = join(",", sort([for each in google_cloudfunctions2_function.scheduled : each.name]))
}

output "processor_service_account" {
  description = "Account of the processor."
  value       = google_service_account.processor.email
}

output "producer_service_account" {
  description = "Account for producers: publishes to the topic."
  value       = google_service_account.producer.email
}

output "replicator_service_account" {
  description = "Account for the replicator: reads and writes candles, control records and raw trades."
  value       = google_service_account.replicator.email
}

output "operator_service_account" {
  description = "Account for operators: reads everything and changes nothing."
  value       = google_service_account.operator.email
}
