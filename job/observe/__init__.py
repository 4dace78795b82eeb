"""Observers of events: each tells people or machines in its own way."""
