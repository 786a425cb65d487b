# Earlier addresses of resources, so that stacks from before are kept as they are.

moved {
  from = aws_sqs_queue.missed[0]
  to   = aws_sqs_queue.missed["anomaly"]
}

moved {
  from = aws_sqs_queue_policy.missed[0]
  to   = aws_sqs_queue_policy.missed["anomaly"]
}

moved {
  from = aws_lambda_function.anomaly[0]
  to   = aws_lambda_function.scheduled["anomaly"]
}

moved {
  from = aws_lambda_function.compact[0]
  to   = aws_lambda_function.scheduled["compact"]
}

moved {
  from = aws_cloudwatch_log_group.anomaly[0]
  to   = aws_cloudwatch_log_group.scheduled["anomaly"]
}

moved {
  from = aws_cloudwatch_log_group.compact[0]
  to   = aws_cloudwatch_log_group.scheduled["compact"]
}

moved {
  from = aws_lambda_function_event_invoke_config.anomaly[0]
  to   = aws_lambda_function_event_invoke_config.scheduled["anomaly"]
}

moved {
  from = aws_lambda_function_event_invoke_config.compact[0]
  to   = aws_lambda_function_event_invoke_config.scheduled["compact"]
}

moved {
  from = aws_iam_role.anomaly[0]
  to   = aws_iam_role.scheduled["anomaly"]
}

moved {
  from = aws_iam_role.compact[0]
  to   = aws_iam_role.scheduled["compact"]
}

moved {
  from = aws_iam_role_policy.anomaly[0]
  to   = aws_iam_role_policy.scheduled["anomaly"]
}

moved {
  from = aws_iam_role_policy.compact[0]
  to   = aws_iam_role_policy.scheduled["compact"]
}

moved {
  from = aws_scheduler_schedule.anomaly[0]
  to   = aws_scheduler_schedule.scheduled["anomaly"]
}

moved {
  from = aws_scheduler_schedule.compact[0]
  to   = aws_scheduler_schedule.scheduled["compact"]
}
