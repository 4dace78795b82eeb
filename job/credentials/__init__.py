"""Sources of secrets."""
