"""Where tokens are listed: a file, or the environment."""
