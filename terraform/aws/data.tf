# Candles, and the control table: heartbeats and the record of who is primary.

resource "aws_dynamodb_table" "candles" {
  #checkov:skip=CKV_AWS_119:DynamoDB's key in this account encrypts it; a key of the stack's could be lost, and the data with it
  #checkov:skip=CKV2_AWS_16:it pays by the request; a capacity is set where that is below the free tier or the load is even
  name                        = "${var.name}-candles"
  billing_mode                = var.candles_capacity == null ? "PAY_PER_REQUEST" : "PROVISIONED"
  write_capacity              = try(var.candles_capacity.write, null)
  read_capacity               = try(var.candles_capacity.read, null)
  hash_key                    = "symbol"
  range_key                   = "timestamp"
  deletion_protection_enabled = var.deletion_protection

  # The replicator follows this stream.
  stream_enabled   = true
  stream_view_type = "NEW_IMAGE"

  attribute {
    name = "symbol"
    type = "S"
  }

  attribute {
    name = "timestamp"
    type = "S"
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled = true
  }
}

resource "aws_dynamodb_table" "control" {
  #checkov:skip=CKV_AWS_119:DynamoDB's key in this account encrypts it; a key of the stack's could be lost, and the data with it
  name                        = "${var.name}-control"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "kind"
  range_key                   = "key"
  deletion_protection_enabled = var.deletion_protection

  attribute {
    name = "kind"
    type = "S"
  }

  attribute {
    name = "key"
    type = "S"
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled = true
  }
}
