"""Reads which of Prometheus' alerts fire."""

import httpx

OWN = frozenset({"HeliotropeRolloutWaits"})
"""Says that somebody has to approve, which is what the policy is asked for."""
TIMEOUT_SECONDS = 5.0


def list_firing_alerts(prometheus_url: str) -> list[str]:
    """Return the names of Heliotrope's alerts that fire; that they cannot be read counts as one.

    `prometheus_url`: empty where there is none, and nothing fires.
    """
    if not prometheus_url:
        return []
    try:
        answer = httpx.get(f"{prometheus_url.rstrip('/')}/api/v1/alerts", timeout=TIMEOUT_SECONDS)
        answer.raise_for_status()
        alerts = answer.json()["data"]["alerts"]
        names = {str(each["labels"]["alertname"]) for each in alerts if each["state"] == "firing"}
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        return [f"alerts cannot be read ({type(error).__name__})"]
    return sorted(name for name in names if name.startswith("Heliotrope") and name not in OWN)
