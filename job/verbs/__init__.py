"""What the verbs show and write."""
