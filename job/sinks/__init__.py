"""Stores where readers find tokens, one file each, below one RecordSink."""
