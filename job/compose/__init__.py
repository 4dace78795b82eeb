"""From settings to objects: the composition root."""
