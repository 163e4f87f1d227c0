"""Candidate in, gate report out; people judge blind comparisons over HTTP."""
