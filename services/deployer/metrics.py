"""Metrics of the deployer, declared once."""

from prometheus_client import Counter, Gauge

ROLLOUTS = Gauge("heliotrope_rollouts_open", "Rollouts that are not over", ["state"])
STUCK = Gauge("heliotrope_rollouts_stuck", "Open rollouts that the last look could not take further, for an error")
CANARY_PERCENT = Gauge("heliotrope_canary_percent", "Share of users that the canary is meant for")
E_VALUE = Gauge("heliotrope_rollout_e_value", "Evidence of the rollout that has the canary", ["decision"])
GUARDRAIL = Gauge(
    "heliotrope_rollout_guardrail_ratio", "Evidence of a guardrail over the bound at which it acts", ["guardrail"]
)
DEADLINE = Gauge("heliotrope_rollout_deadline_seconds", "Time that the canary's stage has left to decide")
ROLLBACK_NEEDED = Gauge(
    "heliotrope_rollback_needed", "1: the champion turned out worse, and the one before cannot come back by itself"
)
SHADOW_PROMPTS = Gauge("heliotrope_shadow_prompts", "Prompts compared in the shadow of a candidate; 0: there is none")
SHADOW_GUARDRAIL = Gauge(
    "heliotrope_shadow_guardrail_ratio",
    "Evidence of a shadow's guardrail over its bound",
    ["guardrail"],
)
SHADOW_SILENT = Gauge(
    "heliotrope_shadow_silent_seconds", "Time since a shadow's last comparison, or its beginning; 0: there is none"
)
VOTES = Gauge("heliotrope_rollout_votes", "Votes in the rollout that has the canary", ["arm", "value"])
CHANGES = Counter("heliotrope_rollout_changes_total", "What became of rollouts, step by step", ["command"])
CLICK_TO_CHAMPION = Gauge(
    "heliotrope_click_to_champion_seconds",
    "From a click to the champion that learned from it, over the clicks new to the newest promoted model",
    ["quantile"],
)
NOTICES = Counter("heliotrope_notices_total", "Attempts to deliver a notice to a webhook", ["outcome"])
NOTICES_WAITING = Gauge(
    "heliotrope_notices_waiting_seconds", "Age of the oldest notice that no webhook took yet; 0: none"
)
POLICY = Gauge("heliotrope_approval_policy_version", "Approval policy in force; 0: a person approves everything")
FROZEN = Gauge("heliotrope_rollouts_frozen_seconds", "Time until rollouts may move forward again; 0: they may")
ALIAS_REPAIRS = Counter("heliotrope_alias_repairs_total", "Times that somebody else had changed a registry alias")
