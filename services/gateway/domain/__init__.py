"""Rules over values: assignment, requests, answers, errors."""
