# Candles, and the control collection: heartbeats and the record of who is primary.

locals {
  candles_collection = "candles"
  control_collection = "control"

  # No query uses these fields, and index entries need storage and slow down writes. (Writing them
  # is not billed in the Standard edition.) The other fields keep Firestore's automatic index, by
  # value and then by name: the replicator reads by `updated`.
  unindexed = [
    "fragments", "open", "high", "low", "close", "volume", "quote_volume",
    "first_id", "last_id", "trade_count", "void_count",
  ]
}

resource "google_firestore_database" "this" {
  name                              = local.database
  location_id                       = var.region
  type                              = "FIRESTORE_NATIVE"
  concurrency_mode                  = "OPTIMISTIC"
  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"
  delete_protection_state           = var.deletion_protection ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  # By default, Terraform would only forget the database and not delete it.
  deletion_policy = "DELETE"

  depends_on = [google_project_service.this]
}

resource "google_firestore_backup_schedule" "daily" {
  database  = google_firestore_database.this.name
  retention = "${var.backup_retention * 24 * 3600}s"

  daily_recurrence {}
}

# For the newest candle of a symbol.
resource "google_firestore_index" "newest" {
  database   = google_firestore_database.this.name
  collection = local.candles_collection

  fields {
    field_path = "symbol"
    order      = "ASCENDING"
  }

  fields {
    field_path = "timestamp"
    order      = "DESCENDING"
  }
}

resource "google_firestore_field" "unindexed" {
  for_each = toset(local.unindexed)

  database   = google_firestore_database.this.name
  collection = local.candles_collection
  field      = each.key

  index_config {}
}
