"""Metrics of ingest."""

from prometheus_client import Counter, Gauge

EVENTS = Counter(
    "heliotrope_ingest_events_total", "Events received, by what became of them", ["kind", "type", "outcome"]
)
CLOCKS_CORRECTED = Counter("heliotrope_ingest_clocks_corrected_total", "Feedback whose client's clock was wrong")
IN_FLIGHT = Gauge("heliotrope_ingest_in_flight_events", "Events that wait for the broker's acknowledgement")
LOOKUPS_FAILED = Counter(
    "heliotrope_ingest_lookups_failed_total", "Event ids not looked up in time; the event was taken"
)
RATE_LIMITED = Counter("heliotrope_ingest_rate_limited_events_total", "Events refused because their key sent too many")
RATE_SYNCS_FAILED = Counter(
    "heliotrope_ingest_rate_syncs_failed_total", "Turns in which Redis did not answer; each process limits by itself"
)
