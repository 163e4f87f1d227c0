"""Metrics of the evaluator."""

from prometheus_client import Counter, Gauge

EVALUATIONS = Counter("heliotrope_evaluations_total", "Evaluations completed", ["verdict"])
VOTES = Counter("heliotrope_comparison_votes_total", "Votes on blind comparisons", ["vote"])
COMPARISONS_WAITING = Gauge("heliotrope_comparisons_waiting", "Comparisons open for a vote")
