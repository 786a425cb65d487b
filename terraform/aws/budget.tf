# The budget covers the account and not only the stack, because a filter by tag shows nothing until
# somebody activates the tag.

resource "aws_budgets_budget" "monthly" {
  count = var.monthly_budget == null ? 0 : 1

  name         = "${var.name}-monthly"
  budget_type  = "COST"
  limit_amount = tostring(var.monthly_budget)
  limit_unit   = local.partition == "aws-cn" ? "CNY" : "USD"
  time_unit    = "MONTHLY"

  notification {
    notification_type         = "ACTUAL"
    comparison_operator       = "GREATER_THAN"
    threshold                 = 80
    threshold_type            = "PERCENTAGE"
    subscriber_sns_topic_arns = [aws_sns_topic.alerts.arn]
  }

  notification {
    notification_type         = "FORECASTED"
    comparison_operator       = "GREATER_THAN"
    threshold                 = 100
    threshold_type            = "PERCENTAGE"
    subscriber_sns_topic_arns = [aws_sns_topic.alerts.arn]
  }

  # AWS checks the policy of the topic when it creates the budget.
  depends_on = [aws_sns_topic_policy.alerts]

  lifecycle {
    precondition {
      condition     = contains(["aws", "aws-cn"], local.partition)
      error_message = "AWS Budgets does not exist in ${var.region}: leave monthly_budget out, and set a budget in the account that pays for this one."
    }
  }
}
