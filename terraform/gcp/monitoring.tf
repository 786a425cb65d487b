# Alert policies, the channel that delivers them, and rules for the log of requests.

locals {
  of_trades    = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"${google_pubsub_subscription.processor.name}\""
  of_export    = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"${google_pubsub_subscription.export.name}\""
  of_dlq       = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"${google_pubsub_subscription.dlq.name}\""
  of_processor = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"${local.processor}\""

  of_scheduled = {
    for name, _ in local.scheduled :
    name => "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"${var.name}-${name}\""
  }

  # Name of the metric below in PromQL.
  stored = "logging_googleapis_com:user_${replace(var.name, "-", "_")}_stored"

  # Each policy compares the worst period of a metric, by default a minute, with a limit. Firestore has
  # no metric for throttling: its refusals show as errors of the function.
  alerts = merge(local.alerts_of_trades, local.alerts_of_scheduled)

  alerts_of_trades = {
    dead-letters = {
      description = "Messages that could not be processed wait in the dead-letter subscription."
      filter      = "${local.of_dlq} AND metric.type = \"pubsub.googleapis.com/subscription/num_undelivered_messages\""
      aligner     = "ALIGN_MAX"
      above       = 0
    }
    message-age = {
      description = "The oldest message has waited for too long: the processor does not keep up, or is down."
      filter      = "${local.of_trades} AND metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\""
      aligner     = "ALIGN_MAX"
      above       = var.max_message_age
    }
    function-errors = {
      description = "The processor fails. Its messages are retried, and become dead letters in the end."
      filter      = "${local.of_processor} AND metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code_class = \"5xx\""
      aligner     = "ALIGN_DELTA"
      above       = 0
    }
    # It also shows that Pub/Sub may not write to the bucket, or does not find it: messages then wait.
    staging-age = {
      description = "Pub/Sub cannot write trades to the staging bucket. It keeps them for 14 days, and then loses them: run `mcloud verify --repair` after that."
      filter      = "${local.of_export} AND metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\""
      aligner     = "ALIGN_MAX"
      above       = 2 * local.staging_window
    }
    # Requests that Cloud Run refuses for lack of an instance are in none of its own metrics, so
    # this is a metric of Pub/Sub:
    # https://cloud.google.com/monitoring/api/metrics_gcp_p_z#gcp-pubsub
    function-throttles = {
      description = "The processor refuses messages: it has no free instance, or Pub/Sub may not call it."
      filter      = "${local.of_trades} AND metric.type = \"pubsub.googleapis.com/subscription/push_request_count\" AND metric.labels.response_class = \"remote_server_4xx\""
      aligner     = "ALIGN_DELTA"
      above       = 0
    }
    function-unreachable = {
      description = "Pub/Sub cannot reach the processor."
      filter      = "${local.of_trades} AND metric.type = \"pubsub.googleapis.com/subscription/push_request_count\" AND metric.labels.response_class = \"unreachable\""
      aligner     = "ALIGN_DELTA"
      above       = 0
    }
  }

  alerts_of_scheduled = {
    for name, function in local.scheduled : "${name}-errors" => {
      description = function.errors
      filter      = "${local.of_scheduled[name]} AND metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code_class = \"5xx\""
      aligner     = "ALIGN_DELTA"
      above       = 0
      period      = function.period
    }
  }
}

# Anomalies that producers found, from the log of the anomaly function. (On AWS, the function itself
# publishes to the topic.)
resource "google_monitoring_alert_policy" "anomaly" {
  count = var.anomalies ? 1 : 0

  display_name          = "${var.name}-anomaly"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = google_monitoring_notification_channel.email[*].id
  user_labels           = local.labels

  documentation {
    content   = "$${log.extracted_label.kind} of $${log.extracted_label.symbol} at $${log.extracted_label.minute}; `mcloud anomalies` lists all."
    mime_type = "text/markdown"
  }

  conditions {
    display_name = "anomaly"

    condition_matched_log {
      filter = "${local.of_scheduled["anomaly"]} AND jsonPayload.message = \"anomaly\""

      label_extractors = {
        kind   = "EXTRACT(jsonPayload.kind)"
        symbol = "EXTRACT(jsonPayload.symbol)"
        minute = "EXTRACT(jsonPayload.minute)"
      }
    }
  }

  alert_strategy {
    auto_close = "1800s"

    notification_rate_limit {
      period = "300s"
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_monitoring_alert_policy" "this" {
  for_each = local.alerts

  display_name          = "${var.name}-${each.key}"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = google_monitoring_notification_channel.email[*].id
  user_labels           = local.labels

  documentation {
    content   = each.value.description
    mime_type = "text/markdown"
  }

  conditions {
    display_name = each.key

    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.above
      duration        = "0s"

      aggregations {
        alignment_period     = try(each.value.period, "60s")
        per_series_aligner   = each.value.aligner
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  alert_strategy {
    auto_close = "1800s" # seconds without a new value; a quiet metric reports none
  }

  depends_on = [google_project_service.this]
}

# Counts the stored messages in the processor's log. The number of its requests would not show a
# dead producer, because the canaries of a guard are requests as well. The metric needs about 0.4
# MiB per month. 150 MiB are free, and further ones cost $0.26 each:
# https://cloud.google.com/stackdriver/pricing (2026-11).
resource "google_logging_metric" "stored" {
  count = var.max_silence == null ? 0 : 1

  name        = "${var.name}-stored"
  description = "Messages of trades that the processor has stored, without canaries"
  filter      = "${local.of_processor} AND jsonPayload.message = \"stored\" AND jsonPayload.symbol != \"MCLOUDCANARY\""

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
  }

  depends_on = [google_project_service.this]

  # The provider would create a metric with the new name, and leave behind the one with the old
  # name.
  lifecycle {
    replace_triggered_by = [terraform_data.name]
  }
}

resource "terraform_data" "name" {
  input = var.name
}

# In PromQL, since the other kinds of condition are refused for some minutes after the metric is made
# (https://github.com/hashicorp/terraform-provider-google/issues/11102), and see no silence before
# the first trade.
resource "google_monitoring_alert_policy" "silence" {
  count = var.max_silence == null ? 0 : 1

  display_name          = "${var.name}-silence"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = google_monitoring_notification_channel.email[*].id
  user_labels           = local.labels

  documentation {
    content   = "The processor has not stored a trade for a while: no trades arrive here. Canaries do not count."
    mime_type = "text/markdown"
  }

  conditions {
    display_name = "silence"

    # Without any values there is no sum. This counts as 0 as well.
    condition_prometheus_query_language {
      query                     = "(sum(increase(${local.stored}{monitored_resource=\"cloud_run_revision\"}[${var.max_silence}s])) or vector(0)) == 0"
      duration                  = "0s"
      evaluation_interval       = "60s"
      disable_metric_validation = true
    }
  }

  alert_strategy {
    auto_close = "604800s" # a week, which is the maximum: the silence lasts until the next trade
  }

  depends_on = [google_project_service.this]
}

resource "google_monitoring_notification_channel" "email" {
  count = var.alert_email == null ? 0 : 1

  display_name = "${var.name}-alerts"
  type         = "email"
  labels       = { email_address = var.alert_email }
  user_labels  = local.labels
  # Without it, the channel of a removed address could not be deleted, because Terraform changes the
  # policies that name it later.
  force_delete = true

  depends_on = [google_project_service.this]
}

# Cloud Run logs every request. The line about a push that succeeded is not needed, and there is one for each
# message. Cloud Run's metrics count these requests all the same.
#
# An exclusion is part of the project's `_Default` sink, which can have ten. Each stack has one for its own
# function. If two stacks of a project are changed at the same moment, Google may lose one of the two changes
# without an error (https://github.com/hashicorp/terraform-provider-google/issues/4796): the next plan shows it.
resource "google_logging_project_exclusion" "pushes" {
  name        = "${var.name}-pushes"
  description = "Requests of Pub/Sub that the processor answered with success"

  filter = join(" AND ", [
    local.of_processor,
    "resource.labels.location = \"${var.region}\"",
    "log_id(\"run.googleapis.com/requests\")",
    "httpRequest.requestMethod = \"POST\"",
    "httpRequest.userAgent =~ \"^(CloudPubSub-Google|APIs-Google)\"", # Pub/Sub has used both names
    "httpRequest.status >= 200",
    "httpRequest.status < 300",
  ])

  depends_on = [google_project_service.this]
}
