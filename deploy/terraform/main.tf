# A Lambda function that keeps one token current in Secrets Manager, and the schedule that runs it.

data "aws_region" "here" {}

data "aws_caller_identity" "me" {}

locals {
  key = coalesce(var.kms_key_arn, "arn:aws:kms:::key/none")

  # The files of deploy/aws are the policies; without a key of your own they need no right to any.
  policies = {
    for name, one in {
      writer = { file = "writer", secret = aws_secretsmanager_secret.token.arn }
      client = { file = "reader", secret = var.client_secret_arn }
      reader = { file = "reader", secret = aws_secretsmanager_secret.token.arn }
    } :
    name => jsondecode(templatefile("${path.module}/../aws/${one.file}-policy.json", {
      secret_arn  = one.secret
      kms_key_arn = local.key
      region      = data.aws_region.here.name
    }))
  }
  documents = {
    for name, policy in local.policies :
    name => jsonencode({
      Version   = policy.Version
      Statement = [for one in policy.Statement : one if one.Sid != "KeyOfYourOwn" || var.kms_key_arn != null]
    })
  }
}

# The secret

resource "aws_secretsmanager_secret" "token" {
  name        = var.token_secret
  description = "A token that freshtoken keeps current."
  kms_key_id  = var.kms_key_arn
}

resource "aws_iam_role_policy" "reader" {
  for_each = var.readers
  name     = "${var.name}-read-token"
  role     = each.value
  policy   = local.documents.reader
}

# The function

resource "aws_iam_role" "function" {
  name = "${var.name}-function"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "writer" {
  name   = "keep-token"
  role   = aws_iam_role.function.id
  policy = local.documents.writer
}

resource "aws_iam_role_policy" "client" {
  name   = "read-client-secret"
  role   = aws_iam_role.function.id
  policy = local.documents.client
}

resource "aws_iam_role_policy" "log" {
  name = "log"
  role = aws_iam_role.function.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = "${aws_cloudwatch_log_group.function.arn}:*"
    }]
  })
}

resource "aws_iam_role_policy" "failed" {
  name = "tell-of-failures"
  role = aws_iam_role.function.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "sqs:SendMessage"
      Resource = aws_sqs_queue.failed.arn
    }]
  })
}

resource "aws_cloudwatch_log_group" "function" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = 30
}

resource "aws_lambda_function" "this" {
  function_name    = var.name
  description      = "Keeps an OAuth 2.0 token current in Secrets Manager."
  role             = aws_iam_role.function.arn
  handler          = "job.runners.aws_lambda.handler"
  runtime          = "python${var.python}"
  architectures    = [var.architecture]
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  timeout          = var.timeout
  memory_size      = 256

  environment {
    variables = {
      FRESHTOKEN_CONFIG = "/var/task/freshtoken.toml"
    }
  }

  depends_on = [aws_cloudwatch_log_group.function]
}

# A failed pass is not run again: the next one is the next try. Failures go to a queue.

resource "aws_sqs_queue" "failed" {
  name                      = "${var.name}-failed"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}

resource "aws_lambda_function_event_invoke_config" "this" {
  function_name                = aws_lambda_function.this.function_name
  maximum_retry_attempts       = 0
  maximum_event_age_in_seconds = 60

  destination_config {
    on_failure {
      destination = aws_sqs_queue.failed.arn
    }
  }

  depends_on = [aws_iam_role_policy.failed]
}

# The schedule

resource "aws_iam_role" "schedule" {
  name = "${var.name}-schedule"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "scheduler.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.me.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "schedule" {
  name = "invoke"
  role = aws_iam_role.schedule.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = "lambda:InvokeFunction"
        Resource = aws_lambda_function.this.arn
      },
      {
        Effect   = "Allow"
        Action   = "sqs:SendMessage"
        Resource = aws_sqs_queue.failed.arn
      },
    ]
  })
}

resource "aws_scheduler_schedule" "this" {
  name                = var.name
  schedule_expression = var.schedule

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_function.this.arn
    role_arn = aws_iam_role.schedule.arn

    dead_letter_config {
      arn = aws_sqs_queue.failed.arn
    }

    retry_policy {
      maximum_event_age_in_seconds = 60
      maximum_retry_attempts       = 3
    }
  }
}

# The alarm

resource "aws_cloudwatch_metric_alarm" "failing" {
  count               = var.alarm_topic_arn == null ? 0 : 1
  alarm_name          = "${var.name}-failing"
  alarm_description   = "freshtoken failed for five minutes, or did not run: see its log group."
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = { FunctionName = aws_lambda_function.this.function_name }
  statistic           = "Minimum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "breaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}
