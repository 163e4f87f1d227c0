"""Trainer: a retrain request becomes a candidate in the registry."""
