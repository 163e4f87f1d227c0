"""Blind comparisons: what is shown, what is voted, and what the votes are evidence of."""
