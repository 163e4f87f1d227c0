"""Candidates with known defects, and harmless twins, before the gates."""
