# Trades on their way to the raw archive. A subscription of its own writes the messages of all symbols together, a few
# minutes in an object. Compaction makes blocks of them, and removes the staged objects.

locals {
  staging_window = 300              # seconds after which Pub/Sub writes an object, at the latest
  staging_size   = 32 * 1024 * 1024 # bytes of messages after which it does so earlier
}

# No rule deletes staged objects: until compaction has moved them, no other object of the site holds their trades, and
# a rule would delete them where compaction is switched off or keeps failing.
resource "google_storage_bucket" "staging" {
  #checkov:skip=CKV_GCP_62:an access log needs a bucket of the project's; Cloud Audit Logs serve as well
  #checkov:skip=CKV_GCP_78:objects are written once and removed after their trades were found in the archive, which keeps versions
  name                        = "${var.name}-staging-${var.project}"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection

  # Off, for the same reason: it would bill each object for a week after compaction.
  soft_delete_policy {
    retention_duration_seconds = 0
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }

    condition {
      age = 7
    }
  }

  depends_on = [google_project_service.this]
}

# Pub/Sub checks whether the bucket exists, and writes objects.
resource "google_storage_bucket_iam_member" "export" {
  for_each = toset(["roles/storage.objectCreator", "roles/storage.legacyBucketReader"])

  bucket = google_storage_bucket.staging.name
  role   = each.key
  member = local.pubsub_agent

  # The agent exists once Pub/Sub is used.
  depends_on = [google_pubsub_topic.trades]
}

resource "google_pubsub_subscription" "export" {
  name                       = "${var.name}-trades-export"
  topic                      = google_pubsub_topic.trades.id
  ack_deadline_seconds       = 600 # at least as long as the window
  message_retention_duration = local.retention

  # The payloads alone, one on a line.
  cloud_storage_config {
    bucket                   = google_storage_bucket.staging.name
    filename_prefix          = "staged/"
    filename_datetime_format = "YYYY/MM/DD/hh/mm_ss"
    max_duration             = "${local.staging_window}s"
    max_bytes                = local.staging_size
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  # Never: after 31 quiet days it would be gone, and what is published then with it.
  expiration_policy {
    ttl = ""
  }

  depends_on = [google_storage_bucket_iam_member.export]
}

# The export has no messages from before it was created. The processor archives those itself: a stack of an earlier
# release may still hold some when it gets its export.
resource "terraform_data" "exported_since" {
  input            = timestamp()
  triggers_replace = [google_pubsub_subscription.export.id]

  lifecycle {
    ignore_changes = [input]
  }
}
