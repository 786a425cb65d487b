# The topic and subscription of trades for the processor, and those of messages that it could not
# process.

locals {
  retention = "${14 * 24 * 3600}s" # as long as on AWS; the limit of Pub/Sub is 31 days
}

resource "google_pubsub_topic" "trades" {
  #checkov:skip=CKV_GCP_83:Google's own key encrypts it; one of the stack's could be lost, and the trades with it
  name = "${var.name}-trades"

  # Trades stay in the region, wherever they are published from.
  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.this]
}

# This subscription pushes to the URL of the function, because the subscription of an event trigger
# cannot have a dead-letter topic.
resource "google_pubsub_subscription" "processor" {
  name                       = "${var.name}-trades-processor"
  topic                      = google_pubsub_topic.trades.id
  ack_deadline_seconds       = var.function_timeout + 30 # this is also the timeout of a push
  message_retention_duration = local.retention

  push_config {
    push_endpoint = google_cloudfunctions2_function.processor.service_config[0].uri

    oidc_token {
      service_account_email = google_service_account.invoker.email
      audience              = google_cloudfunctions2_function.processor.service_config[0].uri
    }
  }

  retry_policy {
    minimum_backoff = "30s"
    maximum_backoff = "600s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dlq.id
    max_delivery_attempts = var.deliveries
  }

  # The subscription never expires. By default it would be deleted after 31 days without activity,
  # and later messages would be lost.
  expiration_policy {
    ttl = ""
  }

  depends_on = [google_cloud_run_v2_service_iam_member.invoker]
}

resource "google_pubsub_topic" "dlq" {
  #checkov:skip=CKV_GCP_83:Google's own key encrypts it; one of the stack's could be lost, and the trades with it
  name = "${var.name}-trades-dlq"

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.this]
}

resource "google_pubsub_subscription" "dlq" {
  name                       = "${var.name}-trades-dlq"
  topic                      = google_pubsub_topic.dlq.id
  ack_deadline_seconds       = 60
  message_retention_duration = local.retention

  expiration_policy {
    ttl = ""
  }
}

# Without these two grants, Pub/Sub neither uses the dead-letter topic nor counts deliveries, and
# does not report an error.
resource "google_pubsub_topic_iam_member" "dlq_publisher" {
  topic  = google_pubsub_topic.dlq.name
  role   = "roles/pubsub.publisher"
  member = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "dlq_subscriber" {
  subscription = google_pubsub_subscription.processor.name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}
