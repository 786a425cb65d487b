# Trades on their way to the raw archive. The processor hands messages to Data Firehose, which writes those of all
# symbols together, a few minutes in an object. Compaction makes blocks of them, and removes the staged objects.

locals {
  staging_window = 300 # seconds after which Firehose writes an object, at the latest
  staging_size   = 32  # MB of messages after which it does so earlier
  stream_name    = "${var.name}-trades"
}

# No rule of its own deletes staged objects: until compaction has moved them, no other object of the site holds their
# trades, and a rule would delete them where compaction is switched off or keeps failing.
resource "aws_s3_bucket" "staging" {
  #checkov:skip=CKV_AWS_18:an access log needs a bucket of the account's; CloudTrail data events serve as well
  #checkov:skip=CKV_AWS_21:objects are written once and removed after their trades were found in the archive, which keeps versions
  #checkov:skip=CKV_AWS_144:the other sites hold the same trades
  #checkov:skip=CKV_AWS_145:S3's own key encrypts it; one of the stack's could be lost, and the trades with it
  #checkov:skip=CKV2_AWS_62:nothing waits for new objects
  bucket        = "${var.name}-staging-${local.account}"
  force_destroy = !var.deletion_protection
}

resource "aws_s3_bucket_server_side_encryption_configuration" "staging" {
  bucket = aws_s3_bucket.staging.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_public_access_block" "staging" {
  bucket                  = aws_s3_bucket.staging.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "staging" {
  bucket = aws_s3_bucket.staging.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_policy" "staging" {
  bucket = aws_s3_bucket.staging.id
  policy = data.aws_iam_policy_document.staging_tls_only.json

  # S3 refuses one of them while the other is being changed.
  depends_on = [aws_s3_bucket_public_access_block.staging]
}

data "aws_iam_policy_document" "staging_tls_only" {
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.staging.arn, "${aws_s3_bucket.staging.arn}/*"]

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

resource "aws_s3_bucket_lifecycle_configuration" "staging" {
  bucket = aws_s3_bucket.staging.id

  rule {
    id     = "clean-up"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

resource "aws_kinesis_firehose_delivery_stream" "trades" {
  #checkov:skip=CKV_AWS_241:Firehose's own key encrypts it; one of the stack's could be lost, and the trades with it
  name        = local.stream_name
  destination = "extended_s3"

  extended_s3_configuration {
    role_arn            = aws_iam_role.delivery.arn
    bucket_arn          = aws_s3_bucket.staging.arn
    prefix              = "staged/!{timestamp:yyyy/MM/dd/HH/}"
    error_output_prefix = "errors/!{firehose:error-output-type}/"
    buffering_interval  = local.staging_window
    buffering_size      = local.staging_size
    compression_format  = "UNCOMPRESSED"

    cloudwatch_logging_options {
      enabled         = true
      log_group_name  = aws_cloudwatch_log_group.delivery.name
      log_stream_name = aws_cloudwatch_log_stream.delivery.name
    }
  }

  server_side_encryption {
    enabled  = true
    key_type = "AWS_OWNED_CMK"
  }

  depends_on = [aws_iam_role_policy.delivery]
}

resource "aws_cloudwatch_log_group" "delivery" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts it with its own key, and nothing secret is logged
  #checkov:skip=CKV_AWS_338:log_retention says how long; it holds errors of Firehose
  name              = "/aws/kinesisfirehose/${local.stream_name}"
  retention_in_days = var.log_retention
}

resource "aws_cloudwatch_log_stream" "delivery" {
  name           = "DestinationDelivery"
  log_group_name = aws_cloudwatch_log_group.delivery.name
}
