"""The way to AWS, and what it says."""
