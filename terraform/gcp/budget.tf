# The budget covers the project and not only the stack, because not every cost has a label.

resource "google_billing_budget" "monthly" {
  count = var.billing_account == null ? 0 : 1

  billing_account = var.billing_account
  display_name    = "${var.name}-monthly"

  budget_filter {
    projects        = ["projects/${local.number}"]
    calendar_period = "MONTH"
  }

  amount {
    specified_amount {
      units = tostring(var.monthly_budget)
    }
  }

  threshold_rules {
    threshold_percent = 0.8
    spend_basis       = "CURRENT_SPEND"
  }

  threshold_rules {
    threshold_percent = 1
    spend_basis       = "FORECASTED_SPEND"
  }

  # Billing administrators are notified in any case.
  dynamic "all_updates_rule" {
    for_each = var.alert_email == null ? [] : [google_monitoring_notification_channel.email[0].id]

    content {
      monitoring_notification_channels = [all_updates_rule.value]
    }
  }

  depends_on = [google_project_service.this]
}
