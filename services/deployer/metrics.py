"""Metrics of the deployer, declared once."""

from prometheus_client import Gauge

ROLLOUTS = Gauge("heliotrope_rollouts_open", "Rollouts that are not over", ["state"])
CANARY_PERCENT = Gauge("heliotrope_canary_percent", "Share of users that the canary is meant for")
E_VALUE = Gauge("heliotrope_rollout_e_value", "Evidence of the rollout that has the canary", ["decision"])
VOTES = Gauge("heliotrope_rollout_votes", "Votes in the rollout that has the canary", ["arm", "value"])
