"""The composition root: from settings to objects."""
