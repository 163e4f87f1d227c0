"""Libraries that recognise personal data."""
