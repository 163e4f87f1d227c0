"""Metrics of the gateway."""

from prometheus_client import Counter, Gauge, Histogram

from shared.metrics import start_at_zero

INTERACTIONS = Counter("heliotrope_gateway_interactions_total", "Answers served, by assigned arm", ["arm", "outcome"])
UNRECORDED = Counter("heliotrope_interactions_unrecorded_total", "Answers that could not be recorded", ["reason"])
REFUSED = Counter("heliotrope_gateway_rate_limited_total", "Requests above a limit, by whose it is", ["limit"])
SPOOL_ROWS = Gauge("heliotrope_spool_rows", "Interactions that wait for the bus")
SPOOL_LATE = Counter("heliotrope_spool_late_total", "Answers that went out before the spool had answered")
UPSTREAM_REQUESTS = Counter("heliotrope_upstream_requests_total", "Requests to model servers", ["version", "outcome"])
FIRST_BYTE_SECONDS = Histogram(
    "heliotrope_upstream_first_byte_seconds",
    "Time from a request to the first byte of its answer",
    ["version"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180),
)
ROUTING_GENERATION = Gauge("heliotrope_routing_generation", "Generation of the routing table in force")
ROUTING_REFUSED = Counter("heliotrope_routing_refused_total", "Routing tables unsigned, or with strange servers")
ROUTING_STALE = Gauge("heliotrope_routing_stale", "1 while the table is too old and only its champion is served")
BREAKER_OPEN = Gauge("heliotrope_upstream_breaker_open", "1 while a version is left alone", ["version"])

MIRRORED = Counter("heliotrope_shadow_mirrored_total", "Champion's answers that a candidate was asked for", ["outcome"])

start_at_zero(MIRRORED, ["compared", "unreported", "dropped", "withdrawn", "failed"])
start_at_zero(INTERACTIONS, ["champion", "canary", "holdback"], ["answered", "failed"])
start_at_zero(UNRECORDED, ["spool_full", "too_large", "spool_failed"])
