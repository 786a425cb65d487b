# Alert policies, and the channel that carries them.

locals {
  of_trades    = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"${google_pubsub_subscription.processor.name}\""
  of_dlq       = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"${google_pubsub_subscription.dlq.name}\""
  of_anomaly   = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"${local.anomaly_name}\""
  of_processor = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"${local.processor}\""

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
    function-throttles = {
      description = "The processor is not allowed to run as often as the subscription wants it."
      filter      = "${local.of_processor} AND metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code = \"429\""
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
    content   = "$${log.extracted_label.kind} of $${log.extracted_label.symbol} at $${log.extracted_label.timestamp}; `mcloud anomalies` lists all."
    mime_type = "text/markdown"
  }

  conditions {
    display_name = "anomaly"

    condition_matched_log {
      filter = "${local.of_anomaly} AND jsonPayload.message = \"anomaly\""

      label_extractors = {
        kind      = "EXTRACT(jsonPayload.kind)"
        symbol    = "EXTRACT(jsonPayload.symbol)"
        timestamp = "EXTRACT(jsonPayload.timestamp)"
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

# Cloud Run counts no requests where there are none: the count is absent, not 0.
resource "google_monitoring_alert_policy" "silence" {
  count = var.max_silence == null ? 0 : 1

  display_name          = "${var.name}-silence"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = google_monitoring_notification_channel.email[*].id
  user_labels           = local.labels

  documentation {
    content   = "The processor has had nothing to do for long: no trades come here."
    mime_type = "text/markdown"
  }

  conditions {
    display_name = "silence"

    condition_absent {
      filter   = "${local.of_processor} AND metric.type = \"run.googleapis.com/request_count\""
      duration = "${var.max_silence}s"

      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  alert_strategy {
    auto_close = "604800s" # a week, the longest: what is silent stays so until a request comes
  }

  depends_on = [google_project_service.this]
}

resource "google_monitoring_notification_channel" "email" {
  count = var.alert_email == null ? 0 : 1

  display_name = "${var.name}-alerts"
  type         = "email"
  labels       = { email_address = var.alert_email }
  user_labels  = local.labels

  depends_on = [google_project_service.this]
}
