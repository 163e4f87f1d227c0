"""Metrics of the drift monitor."""

from prometheus_client import Counter, Gauge

from services.curator.domain.readings import Report
from shared.metrics import start_at_zero

VALUE = Gauge("heliotrope_detector_value", "What a detector measures now", ["detector"])
THRESHOLD = Gauge("heliotrope_detector_threshold", "Value at which a detector wants a retraining", ["detector"])
WANTS = Gauge("heliotrope_detector_wants_retraining", "1 while a detector wants a retraining", ["detector"])
FIGURE = Gauge("heliotrope_detector_figure", "Further figures of a detector", ["detector", "figure"])
DECISIONS = Counter("heliotrope_retrain_decisions_total", "Looks at the detectors by what they led to", ["action"])
NOT_MEASURED = float("nan")

start_at_zero(DECISIONS, ["request", "shadow", "wait"])


def export_report(report: Report) -> None:
    """Show a report's figures; what cannot be measured now is NaN."""
    for reading in report.readings:
        VALUE.labels(reading.name).set(NOT_MEASURED if reading.value is None else reading.value)
        WANTS.labels(reading.name).set(reading.reason is not None)
        if reading.threshold is not None:
            THRESHOLD.labels(reading.name).set(reading.threshold)
        for figure, value in reading.figures.items():
            if not isinstance(value, str):
                FIGURE.labels(reading.name, figure).set(NOT_MEASURED if value is None else value)
    DECISIONS.labels(report.decision.action).inc()
