"""The services; they meet only in the events and the tables."""
