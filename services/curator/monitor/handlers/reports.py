"""Leave what a look showed: rows for the API, gauges for Prometheus."""

from datetime import datetime

from sqlalchemy.orm import Session

from services.curator.config.metrics import (
    DETECTOR_FIGURE,
    DETECTOR_THRESHOLD,
    DETECTOR_VALUE,
    DETECTOR_WANTS,
    RETRAIN_DECISIONS,
)
from services.curator.monitor.domain.detectors import MonitorReport
from services.curator.monitor.repository import loop as repository

NOT_MEASURED = float("nan")


def save_report(session: Session, report: MonitorReport, now: datetime) -> None:
    """Save one row for each detector, and one for the decision."""
    for result in report.results:
        state: dict[str, object] = {
            "summary": result.summary,
            "value": result.value,
            "threshold": result.threshold,
            "wants_retraining": result.reason is not None,
            "figures": result.figures,
        }
        repository.save_detector(session, result.name, state, now)
    decision = report.decision
    repository.save_detector(session, "decision", {"summary": decision.summary, "action": decision.action}, now)


def export_report(report: MonitorReport) -> None:
    """Show a report's figures; what cannot be measured now is NaN."""
    for result in report.results:
        DETECTOR_VALUE.labels(result.name).set(NOT_MEASURED if result.value is None else result.value)
        DETECTOR_WANTS.labels(result.name).set(result.reason is not None)
        if result.threshold is not None:
            DETECTOR_THRESHOLD.labels(result.name).set(result.threshold)
        for figure, value in result.figures.items():
            if not isinstance(value, str):
                DETECTOR_FIGURE.labels(result.name, figure).set(NOT_MEASURED if value is None else value)
    RETRAIN_DECISIONS.labels(report.decision.action).inc()
