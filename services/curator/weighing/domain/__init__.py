"""Pure statistics over all evidence."""
