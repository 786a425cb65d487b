data "google_project" "this" {
  project_id = var.project
}

locals {
  number   = data.google_project.this.number
  database = coalesce(var.database, var.name)
  labels   = merge(var.labels, { application = "mcloud", stack = var.name })

  # The service agent with which Pub/Sub delivers and dead-letters messages.
  pubsub_agent = "serviceAccount:service-${local.number}@gcp-sa-pubsub.iam.gserviceaccount.com"

  # The bucket into which Cloud Functions copies the sources of the functions of a region.
  sources = "projects/_/buckets/gcf-v2-sources-${local.number}-${var.region}"
}
