"""Rules over values: what is wrong with a submitted event."""
