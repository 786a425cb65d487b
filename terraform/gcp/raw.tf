# The raw archive: every trade as it was received. Any candle can be made again from it.

resource "google_storage_bucket" "raw" {
  #checkov:skip=CKV_GCP_62:an access log needs a bucket of the project's; Cloud Audit Logs serve as well
  name                        = "${var.name}-raw-${var.project}"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection

  versioning {
    enabled = true
  }

  soft_delete_policy {
    retention_duration_seconds = 7 * 24 * 3600
  }

  # The change of class is billed per object ($0.02 per 1,000), which small objects never earn back.
  # Only blocks from 128 KiB on have a custom time; see mcloud/clouds/gcp/archive.py.
  lifecycle_rule {
    action {
      type          = "SetStorageClass"
      storage_class = "COLDLINE"
    }

    condition {
      days_since_custom_time = 90
      matches_prefix         = ["raw/"]
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      days_since_noncurrent_time = 30
      with_state                 = "ARCHIVED"
    }
  }

  # Canaries, which only show that the site works; see mcloud/canary.py.
  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      age            = 1
      matches_prefix = ["raw/symbol=MCLOUDCANARY/"]
    }
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
