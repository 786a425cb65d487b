# The raw archive: every trade as it was received. Any candle can be made again from it.

resource "aws_s3_bucket" "raw" {
  #checkov:skip=CKV_AWS_18:an access log needs a bucket of the account's; CloudTrail data events serve as well
  #checkov:skip=CKV_AWS_144:the other sites hold the same trades
  #checkov:skip=CKV_AWS_145:S3's own key encrypts it; one of the stack's could be lost, and the archive with it
  #checkov:skip=CKV2_AWS_62:nothing waits for new objects
  bucket        = "${var.name}-raw-${local.account}"
  force_destroy = !var.deletion_protection
}

resource "aws_s3_bucket_versioning" "raw" {
  bucket = aws_s3_bucket.raw.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "raw" {
  bucket = aws_s3_bucket.raw.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_public_access_block" "raw" {
  bucket                  = aws_s3_bucket.raw.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "raw" {
  bucket = aws_s3_bucket.raw.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_policy" "raw" {
  bucket = aws_s3_bucket.raw.id
  policy = data.aws_iam_policy_document.raw_tls_only.json

  # S3 refuses to change one of them while the other is being changed.
  depends_on = [aws_s3_bucket_public_access_block.raw]
}

data "aws_iam_policy_document" "raw_tls_only" {
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.raw.arn, "${aws_s3_bucket.raw.arn}/*"]

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

resource "aws_s3_bucket_lifecycle_configuration" "raw" {
  bucket = aws_s3_bucket.raw.id

  rule {
    id     = "colder"
    status = "Enabled"

    # The change of class is billed per object ($0.02 per 1,000), which small objects never earn back. After 90
    # days these are blocks: compaction has removed the objects of hours, and few indexes are as large.
    filter {
      and {
        prefix                   = "raw/"
        object_size_greater_than = 131072
      }
    }

    # The coldest class with immediate access, so that a repair can read objects without restoring
    # them first.
    transition {
      days          = 90
      storage_class = "GLACIER_IR"
    }
  }

  rule {
    id     = "noncurrent"
    status = "Enabled"

    filter {
      prefix = "raw/"
    }

    noncurrent_version_expiration {
      noncurrent_days = 30
    }
  }

  # Canaries, which only show that the site works; see mcloud/canary.py.
  rule {
    id     = "canaries"
    status = "Enabled"

    filter {
      prefix = "raw/symbol=MCLOUDCANARY/"
    }

    expiration {
      days = 1
    }

    noncurrent_version_expiration {
      noncurrent_days = 1
    }
  }

  rule {
    id     = "clean-up"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }

    expiration {
      expired_object_delete_marker = true
    }
  }

  depends_on = [aws_s3_bucket_versioning.raw]
}
