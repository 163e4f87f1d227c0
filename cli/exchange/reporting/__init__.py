"""What an import says of itself: counts, how far it is, and the report."""
