"""Erasing a user, and proving it."""
