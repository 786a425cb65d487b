"""AWS: SQS, Lambda, DynamoDB, S3, CloudWatch."""
