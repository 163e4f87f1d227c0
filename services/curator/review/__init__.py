"""What waits for people: parked feedback, contested pairs, quarantine; and their decisions."""
