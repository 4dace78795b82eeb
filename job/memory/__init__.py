"""What is remembered of a token, one file for each place that keeps it."""
