"""HTTP with a total deadline."""
