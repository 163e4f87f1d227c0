"""Limits to test with: those of the settings, with changes."""

from typing import Any

from services.deployer.domain.limits import Limits


def make_limits(**changes: Any) -> Limits:
    usual: dict[str, Any] = {
        "stages": [5, 25, 50, 100],
        "holdback_percent": 5,
        "alpha": 0.05,
        "alpha_advance": 0.05,
        "delta": 0.05,
        "minimum_seconds": 60,
        "minimum_votes": 10,
        "exposure_seconds": 600,
        "silence": 0.75,
        "deadline_seconds": 86_400,
        "breaker_errors": 5,
        "breaker_share": 0.2,
        "breaker_window": 200,
        "breaker_alpha_share": 0.1,
    }
    return Limits(**usual | changes)
