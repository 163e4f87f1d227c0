"""Benchmarks: each against a peer or a ceiling, in one run, as ratios."""
