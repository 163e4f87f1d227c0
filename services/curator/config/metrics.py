"""Metrics of the curator and of its drift monitor."""

from prometheus_client import Counter, Gauge

from shared.metrics import start_at_zero

CONFLICTS = Counter("heliotrope_conflicting_events_total", "Events whose id was taken by another body", ["kind"])
PAIRS = Gauge("heliotrope_pairs", "Preference pairs", ["rule", "state", "split"])
LABELS = Gauge("heliotrope_labels", "Unpaired labels", ["rule", "desirable", "split"])
REFUSED = Gauge("heliotrope_pairs_refused", "Refused pairs by reason", ["reason"])
PARKED = Gauge("heliotrope_feedback_parked", "Feedback that waits for its interaction")
PARKED_AGE = Gauge("heliotrope_feedback_parked_age_seconds", "Age of the longest waiting feedback")
EXPIRED = Counter("heliotrope_feedback_expired_total", "Feedback whose interaction never came")
ERASED = Counter("heliotrope_erased_events_dropped_total", "Events of erased users, dropped on arrival", ["kind"])
REDACTED = Counter("heliotrope_redactions_total", "Personal data taken out of texts before they were stored", ["kind"])

start_at_zero(CONFLICTS, ["interaction", "feedback"])
start_at_zero(ERASED, ["interaction", "feedback"])

DETECTOR_VALUE = Gauge("heliotrope_detector_value", "What a detector measures now", ["detector"])
DETECTOR_THRESHOLD = Gauge(
    "heliotrope_detector_threshold", "Value at which a detector wants a retraining", ["detector"]
)
DETECTOR_WANTS = Gauge("heliotrope_detector_wants_retraining", "1 while a detector wants a retraining", ["detector"])
DETECTOR_FIGURE = Gauge("heliotrope_detector_figure", "Further figures of a detector", ["detector", "figure"])
RETRAIN_DECISIONS = Counter(
    "heliotrope_retrain_decisions_total", "Looks at the detectors by what they led to", ["action"]
)

start_at_zero(RETRAIN_DECISIONS, ["request", "shadow", "wait"])
