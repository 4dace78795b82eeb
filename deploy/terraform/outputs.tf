output "token_secret_arn" {
  description = "The secret that holds the token."
  value       = aws_secretsmanager_secret.token.arn
}

output "function_name" {
  description = "The function; `aws logs tail /aws/lambda/NAME` shows its log."
  value       = aws_lambda_function.this.function_name
}

output "failed_queue_url" {
  description = "The queue of passes that failed."
  value       = aws_sqs_queue.failed.url
}
