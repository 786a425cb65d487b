data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  # These tags override those of the user, because bills and cost reports find the stack by them.
  tags = merge(var.tags, { application = "mcloud", stack = var.name })
}
