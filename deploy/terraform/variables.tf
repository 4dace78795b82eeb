variable "name" {
  description = "What everything is named."
  type        = string
  default     = "freshtoken"
}

variable "package" {
  description = "The zip that deploy/aws/package.sh makes; freshtoken.toml is in it."
  type        = string
}

variable "python" {
  description = "The runtime's Python version: the one that the package was made with."
  type        = string
  default     = "3.13"
}

variable "architecture" {
  description = "The processor that the package was made on: x86_64 or arm64."
  type        = string
  default     = "x86_64"
}

variable "token_secret" {
  description = "The name of the secret that is made for the token: secret_id in freshtoken.toml."
  type        = string
}

variable "client_secret_arn" {
  description = "The ARN of the secret that holds the client secret: aws_secret in freshtoken.toml. You make it, so that its value is in no state file."
  type        = string
}

variable "kms_key_arn" {
  description = "The ARN of a KMS key of your own, which encrypts both secrets; null for the AWS managed key."
  type        = string
  default     = null
}

variable "readers" {
  description = "Names of the IAM roles that may read the token."
  type        = set(string)
  default     = []
}

variable "schedule" {
  description = "When a pass runs. Its interval is the delay of a retry: shorter than a third of the tokens' life."
  type        = string
  default     = "rate(1 minute)"
}

variable "timeout" {
  description = "How many seconds a pass may take."
  type        = number
  default     = 60

  validation {
    condition     = var.timeout >= 30 && var.timeout <= 900
    error_message = "An exchange may take 15 s and a write 30 s: from 30 to 900."
  }
}

variable "alarm_topic_arn" {
  description = "The SNS topic that is told when every pass of five minutes has failed, or none ran; null for no alarm."
  type        = string
  default     = null
}
