"""Metrics of the evaluator."""

from prometheus_client import Counter, Gauge

from shared.metrics import start_at_zero

EVALUATIONS = Counter("heliotrope_evaluations_total", "Evaluations completed", ["verdict"])
GATES = Counter("heliotrope_gates_total", "Gates of completed evaluations", ["gate", "verdict"])
VOTES = Counter("heliotrope_comparison_votes_total", "Votes on blind comparisons", ["vote"])
COMPARISONS_WAITING = Gauge("heliotrope_comparisons_waiting", "Comparisons open for a vote")

start_at_zero(EVALUATIONS, ["pass", "fail", "inconclusive"])
start_at_zero(VOTES, ["left", "right", "tie"])
