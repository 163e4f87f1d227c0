"""Composition roots, one for each process of the curator."""
