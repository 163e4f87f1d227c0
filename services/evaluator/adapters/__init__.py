"""Adapters of the evaluator: what reaches outside the process."""
