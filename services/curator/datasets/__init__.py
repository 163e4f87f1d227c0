"""Frozen, content-hashed datasets, and the lineage of what is in them."""
