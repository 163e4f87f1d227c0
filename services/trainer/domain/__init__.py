"""Decisions of the trainer: values in, values out."""
