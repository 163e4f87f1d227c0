"""Interactions and feedback become preference pairs, pairs become datasets; the drift monitor asks for retraining."""
