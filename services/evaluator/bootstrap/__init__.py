"""Composition roots, one for each process."""
