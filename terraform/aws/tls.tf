# Every queue and bucket refuses requests without TLS.
data "aws_iam_policy_document" "tls_only" {
  for_each = merge(
    {
      trades  = { actions = ["sqs:*"], resources = [aws_sqs_queue.trades.arn] }
      dlq     = { actions = ["sqs:*"], resources = [aws_sqs_queue.dlq.arn] }
      raw     = { actions = ["s3:*"], resources = [aws_s3_bucket.raw.arn, "${aws_s3_bucket.raw.arn}/*"] }
      staging = { actions = ["s3:*"], resources = [aws_s3_bucket.staging.arn, "${aws_s3_bucket.staging.arn}/*"] }
    },
    { for name, queue in aws_sqs_queue.missed : "${name}-missed" => { actions = ["sqs:*"], resources = [queue.arn] } },
  )

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = each.value.actions
    resources = each.value.resources

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
