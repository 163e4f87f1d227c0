"""Metrics of the evaluator."""

from prometheus_client import Counter, Gauge

from shared.metrics import start_at_zero

EVALUATIONS = Counter("heliotrope_evaluations_total", "Evaluations of candidates completed", ["verdict"])
GATES = Counter("heliotrope_gates_total", "Gates of completed evaluations", ["gate", "verdict"])
VOTES = Counter("heliotrope_comparison_votes_total", "Votes on blind comparisons", ["vote"])
COMPARISONS_WAITING = Gauge("heliotrope_comparisons_waiting", "Comparisons open for a vote")
AUDIT_OUTCOMES = ("pass", "fail", "inconclusive", "error")
AUDIT = Gauge("heliotrope_champion_audit", "1 for what the last audit of today's champion said", ["outcome"])
FALSE_PROMOTIONS = Gauge(
    "heliotrope_false_promotions",
    "Expected false promotions of 91 days: spent by the candidates' levels, allowed",
    ["of"],
)

start_at_zero(EVALUATIONS, ["pass", "fail", "inconclusive"])
start_at_zero(VOTES, ["left", "right", "tie"])
