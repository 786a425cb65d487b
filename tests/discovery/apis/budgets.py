"""Budgets of a billing account."""

from ..cloud import Cloud
from ..hooks import Change, check, complete, new_id
from ..names import new_uuid
from ..refusal import invalid

new_id("billingbudgets.billingAccounts.budgets")(new_uuid)


@check("billingbudgets.billingAccounts.budgets")
def check_budget(cloud: Cloud, change: Change) -> None:
    budget = change.resource
    amount = budget.get("amount", {})
    if not amount:
        raise invalid("A budget has an amount.")
    if int(amount.get("specifiedAmount", {}).get("units") or 0) < 0:
        raise invalid("The amount of a budget is not negative.")
    if "lastPeriodAmount" in amount and "customPeriod" in budget.get("budgetFilter", {}):
        raise invalid("lastPeriodAmount cannot be set in combination with a custom period.")
    if len(budget.get("displayName", "")) > 60:
        raise invalid("The display name has at most 60 characters.")
    if len(budget.get("budgetFilter", {}).get("labels", {})) > 1:
        raise invalid("The filter of a budget has at most one label.")
    rules = budget.get("thresholdRules", [])
    if any(rule.get("thresholdPercent", 0) < 0 for rule in rules):
        raise invalid("A threshold is a non-negative number.")
    told = budget.get("notificationsRule", {})
    channels = told.get("monitoringNotificationChannels", [])
    if len(channels) > 5:
        raise invalid("A budget notifies at most 5 channels.")
    for channel in channels:
        if not cloud.exists("monitoring", channel):
            raise invalid(f"Notification channel {channel} does not exist.")
    if told.get("pubsubTopic") and told.get("schemaVersion") != "1.0":
        raise invalid("A budget with a topic has the schema version 1.0.")


@complete("billingbudgets.billingAccounts.budgets")
def complete_budget(cloud: Cloud, change: Change) -> None:
    spending = change.resource.setdefault("budgetFilter", {})
    spending.setdefault("creditTypesTreatment", "INCLUDE_ALL_CREDITS")
    if "customPeriod" not in spending:
        spending.setdefault("calendarPeriod", "MONTH")
    if "specifiedAmount" in change.resource["amount"]:
        change.resource["amount"]["specifiedAmount"].setdefault("currencyCode", "USD")
    for rule in change.resource.get("thresholdRules", []):
        rule.setdefault("spendBasis", "CURRENT_SPEND")
    change.resource.setdefault("notificationsRule", {})
