"""What drives refreshers: the daemon, one pass, AWS Lambda."""
