"""Preference pairs and labels, derived from the evidence of one prompt at a time."""
