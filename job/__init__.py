"""freshtoken: a scheduled job that keeps OAuth 2.0 client-credentials tokens current."""

__version__ = "0.1.0"
