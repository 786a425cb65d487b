# Alert policies, the channel that carries them, and rules for the log of requests.

locals {
  of_trades    = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"${google_pubsub_subscription.processor.name}\""
  of_dlq       = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"${google_pubsub_subscription.dlq.name}\""
  of_anomaly   = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"${local.anomaly_name}\""
  of_processor = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"${local.processor}\""

  # The name of the metric below, as PromQL has it.
  stored = "logging_googleapis_com:user_${replace(var.name, "-", "_")}_stored"

  # Each is a metric's worst minute against a limit. Firestore has no metric for throttling: what it
  # refuses shows as an error of the function.
  alerts = merge(local.alerts_of_trades, var.anomalies ? local.alerts_of_anomalies : {})

  alerts_of_trades = {
    dead-letters = {
      description = "Messages that could not be processed wait in the dead-letter subscription."
      filter      = "${local.of_dlq} AND metric.type = \"pubsub.googleapis.com/subscription/num_undelivered_messages\""
      aligner     = "ALIGN_MAX"
      above       = 0
    }
    message-age = {
      description = "The oldest message waits too long: the processor does not keep up, or is down."
      filter      = "${local.of_trades} AND metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\""
      aligner     = "ALIGN_MAX"
      above       = var.max_message_age
    }
    function-errors = {
      description = "The processor fails; its messages come back, and are dead-lettered in the end."
      filter      = "${local.of_processor} AND metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code_class = \"5xx\""
      aligner     = "ALIGN_DELTA"
      above       = 0
    }
    # What Cloud Run refuses for lack of an instance is in none of its own metrics, so Pub/Sub is asked:
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

  alerts_of_anomalies = {
    anomaly-errors = {
      description = "The anomaly function fails: what is out of line may go unseen until it is well again."
      filter      = "${local.of_anomaly} AND metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code_class = \"5xx\""
      aligner     = "ALIGN_DELTA"
      above       = 0
    }
  }
}

# What the anomaly function finds, as its log says it. (On AWS it tells the topic itself.)
resource "google_monitoring_alert_policy" "anomaly" {
  count = local.anomaly

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
      filter = "${local.of_anomaly} AND jsonPayload.message = \"anomaly\""

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
        alignment_period     = "60s"
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

# The messages that the processor says it has stored. Its requests would not do: a guard's canaries,
# which go on coming where the producer is dead, are requests too. It takes some 0.4 MiB a month of
# the 150 that are free, $0.26 each after them: https://cloud.google.com/stackdriver/pricing (2026-11).
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

  # The provider would make a metric of the new name and leave the one of the old name behind.
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
    content   = "The processor has stored no trade for long: none comes here. Canaries do not count."
    mime_type = "text/markdown"
  }

  conditions {
    display_name = "silence"

    # Where there is nothing to count there is no sum either; that is 0 too.
    condition_prometheus_query_language {
      query                     = "(sum(increase(${local.stored}{monitored_resource=\"cloud_run_revision\"}[${var.max_silence}s])) or vector(0)) == 0"
      duration                  = "0s"
      evaluation_interval       = "60s"
      disable_metric_validation = true
    }
  }

  alert_strategy {
    auto_close = "604800s" # a week, the longest: what is silent stays so until a trade comes
  }

  depends_on = [google_project_service.this]
}

resource "google_monitoring_notification_channel" "email" {
  count = var.alert_email == null ? 0 : 1

  display_name = "${var.name}-alerts"
  type         = "email"
  labels       = { email_address = var.alert_email }
  user_labels  = local.labels
  # Without it the channel of an address that is taken away could not be deleted: the policies that name
  # it are changed later.
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
