data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  tags      = merge({ application = "mcloud", stack = var.name }, var.tags)

  # One where the second function is wanted, otherwise none.
  anomaly = var.anomalies ? 1 : 0
}
