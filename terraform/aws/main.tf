data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  # Ours come last: bills and the dashboards of costs find the stack by them.
  tags = merge(var.tags, { application = "mcloud", stack = var.name })

  # One where the second function is wanted, otherwise none.
  anomaly = var.anomalies ? 1 : 0
}
