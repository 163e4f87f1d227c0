"""Canary rules side by side on simulated traffic whose truth is known: `make bench-canary`."""
