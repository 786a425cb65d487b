resource "google_monitoring_dashboard" "this" {
  dashboard_json = jsonencode({
    displayName = var.name
    labels      = local.labels
    mosaicLayout = {
      columns = 12
      tiles = [
        for index, chart in concat(local.charts, local.charts_of_scheduled) : merge({
          # Cloud Monitoring omits a position of 0, so Terraform would show a change in every plan.
          for name, cells in { xPos = 6 * (index % 2), yPos = 4 * floor(index / 2), width = 6, height = 4 } :
          name => cells if cells != 0
          }, {
          widget = {
            title = chart.title
            xyChart = {
              dataSets = [
                for line in chart.lines : {
                  plotType       = "LINE"
                  legendTemplate = line.label
                  timeSeriesQuery = {
                    timeSeriesFilter = {
                      filter = line.filter
                      aggregation = {
                        alignmentPeriod    = "60s"
                        perSeriesAligner   = line.aligner
                        crossSeriesReducer = line.reducer
                      }
                    }
                  }
                }
              ]
            }
          }
        })
      ]
    }
  })

  depends_on = [google_project_service.this]
}

locals {
  charts = [
    {
      title = "Messages waiting"
      lines = [
        { label = "waiting", filter = "${local.of_trades} AND metric.type = \"pubsub.googleapis.com/subscription/num_undelivered_messages\"", aligner = "ALIGN_MAX", reducer = "REDUCE_SUM" },
        { label = "dead letters", filter = "${local.of_dlq} AND metric.type = \"pubsub.googleapis.com/subscription/num_undelivered_messages\"", aligner = "ALIGN_MAX", reducer = "REDUCE_SUM" },
      ]
    },
    {
      title = "Age of the oldest message, seconds"
      lines = [
        { label = "age", filter = "${local.of_trades} AND metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\"", aligner = "ALIGN_MAX", reducer = "REDUCE_MAX" },
        { label = "age until staged", filter = "${local.of_export} AND metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\"", aligner = "ALIGN_MAX", reducer = "REDUCE_MAX" },
      ]
    },
    {
      title = "Processor calls"
      lines = [
        { label = "calls", filter = "${local.of_processor} AND metric.type = \"run.googleapis.com/request_count\"", aligner = "ALIGN_DELTA", reducer = "REDUCE_SUM" },
        { label = "errors", filter = "${local.of_processor} AND metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code_class = \"5xx\"", aligner = "ALIGN_DELTA", reducer = "REDUCE_SUM" },
        { label = "refused", filter = "${local.of_trades} AND metric.type = \"pubsub.googleapis.com/subscription/push_request_count\" AND metric.labels.response_class = \"remote_server_4xx\"", aligner = "ALIGN_DELTA", reducer = "REDUCE_SUM" },
        { label = "unreachable", filter = "${local.of_trades} AND metric.type = \"pubsub.googleapis.com/subscription/push_request_count\" AND metric.labels.response_class = \"unreachable\"", aligner = "ALIGN_DELTA", reducer = "REDUCE_SUM" },
      ]
    },
    {
      title = "Processor duration, ms"
      lines = [
        { label = "median", filter = "${local.of_processor} AND metric.type = \"run.googleapis.com/request_latencies\"", aligner = "ALIGN_DELTA", reducer = "REDUCE_PERCENTILE_50" },
        { label = "95 of 100", filter = "${local.of_processor} AND metric.type = \"run.googleapis.com/request_latencies\"", aligner = "ALIGN_DELTA", reducer = "REDUCE_PERCENTILE_95" },
      ]
    },
    {
      # A request sends several messages. The metric that counts messages is deprecated.
      title = "Publish requests"
      lines = [
        { label = "sent", filter = "resource.type = \"pubsub_topic\" AND resource.labels.topic_id = \"${google_pubsub_topic.trades.name}\" AND metric.type = \"pubsub.googleapis.com/topic/send_request_count\"", aligner = "ALIGN_DELTA", reducer = "REDUCE_SUM" },
      ]
    },
  ]

  charts_of_scheduled = [
    for name, function in local.scheduled : {
      title = "${function.title} calls"
      lines = [
        { label = "calls", filter = "${local.of_scheduled[name]} AND metric.type = \"run.googleapis.com/request_count\"", aligner = "ALIGN_DELTA", reducer = "REDUCE_SUM" },
        { label = "errors", filter = "${local.of_scheduled[name]} AND metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code_class = \"5xx\"", aligner = "ALIGN_DELTA", reducer = "REDUCE_SUM" },
      ]
    }
  ]
}
