"""SQL of the evidence."""
