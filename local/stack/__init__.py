"""The embedded stack: what it starts, prepares, measures, backs up and stops."""
