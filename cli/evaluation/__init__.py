"""`heliotrope evaluate`."""
