"""A recipe: its fields, how it is parsed and checked, and its reference page."""
