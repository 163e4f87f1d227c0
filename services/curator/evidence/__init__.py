"""Interactions and feedback: redacted, deduplicated, and stored once."""
