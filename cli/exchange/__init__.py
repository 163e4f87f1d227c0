"""Data of other tools in, datasets out."""
