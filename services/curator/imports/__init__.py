"""Imports: what there is, and taking one back as a whole."""
