"""Grafana's dashboards as code: `python observability/dashboards.py` writes grafana/dashboards/*.json.

It also copies the Prometheus rules into the chart. Needs `grafana-foundation-sdk` only (`make dashboards`).
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef, GridPos

HERE = Path(__file__).parent
RULES = HERE.parent / "helm" / "heliotrope" / "rules"
WIDTH, HEIGHT, COLUMNS = 12, 8, 2


@dataclass(frozen=True)
class Graph:
    """A panel: what it shows, its query, what names a line, Grafana's unit."""

    title: str
    query: str
    legend: str = ""
    unit: str = "short"


BOARDS: dict[str, tuple[str, tuple[Graph, ...]]] = {
    "loop": (
        "Heliotrope: the loop at a glance",
        (
            Graph("Answers served", "sum by (arm) (rate(heliotrope_gateway_interactions_total[5m]))", "{{arm}}", "ops"),
            Graph(
                "Feedback and answers in", "sum by (kind) (rate(heliotrope_ingest_events_total[5m]))", "{{kind}}", "ops"
            ),
            Graph("Preference pairs", "sum by (split) (heliotrope_pairs)", "{{split}}"),
            Graph("Records behind", "heliotrope:consumer_lag_records:max", "{{consumer}}"),
            Graph("Training runs", "sum by (state) (heliotrope_training_runs)", "{{state}}"),
            Graph("Evaluations by verdict", "sum by (verdict) (heliotrope_evaluations_total)", "{{verdict}}"),
            Graph(
                "What the last audit of the champion said",
                "max by (outcome) (heliotrope_champion_audit)",
                "{{outcome}}",
            ),
            Graph("False promotions in 91 days, expected", "max by (of) (heliotrope_false_promotions)", "{{of}}"),
            Graph("Canary's share of users", "max(heliotrope_canary_percent)", "canary", "percent"),
            Graph("Generation of the routing table", "max(heliotrope_routing_generation)", "generation"),
            Graph("Routing tables refused", "sum by (instance) (heliotrope_routing_refused_total)", "{{instance}}"),
            Graph("Gateways that serve the champion only", "sum(heliotrope_routing_stale)", "stale"),
            Graph(
                "From a click to the champion that learned from it",
                "max by (quantile) (heliotrope_click_to_champion_seconds)",
                "quantile {{quantile}}",
                "s",
            ),
            Graph("Dead letters", "heliotrope:events_dead:rate5m", "{{consumer}}", "ops"),
        ),
    ),
    "traffic": (
        "Heliotrope: ingest and gateway",
        (
            Graph("Requests", "heliotrope:http_requests:rate5m", "{{service}}", "reqps"),
            Graph("Share of errors", "heliotrope:http_errors:ratio5m", "{{service}}", "percentunit"),
            Graph("Slowest hundredth of requests", "heliotrope:http_request_seconds:p99_5m", "{{service}}", "s"),
            Graph(
                "Events by outcome", "sum by (outcome) (rate(heliotrope_ingest_events_total[5m]))", "{{outcome}}", "ops"
            ),
            Graph("Events waiting for the broker", "sum(heliotrope_ingest_in_flight_events)", "in flight"),
            Graph("Answers waiting in the spool", "max by (instance) (heliotrope_spool_rows)", "{{instance}}"),
            Graph(
                "Requests to model servers",
                "sum by (version, outcome) (rate(heliotrope_upstream_requests_total[5m]))",
                "{{version}} {{outcome}}",
                "reqps",
            ),
            Graph(
                "Time to the first byte, 95th percentile",
                "histogram_quantile(0.95, sum by (version, le)"
                " (rate(heliotrope_upstream_first_byte_seconds_bucket[5m])))",
                "{{version}}",
                "s",
            ),
            Graph("Models left alone", "max by (version) (heliotrope_upstream_breaker_open)", "{{version}}"),
            Graph("Answers not recorded", "sum by (reason) (heliotrope_interactions_unrecorded_total)", "{{reason}}"),
            Graph(
                "Records refused for good, put aside",
                "sum by (relay) (heliotrope_relay_refused_records_total)",
                "{{relay}}",
            ),
            Graph("Topics that take nothing", "max by (relay) (heliotrope_relay_stopped_topics)", "{{relay}}"),
            Graph("Consumers that cannot read", "max by (consumer) (heliotrope_consumer_problems)", "{{consumer}}"),
            Graph(
                "Times the batch at hand failed",
                "max by (consumer) (heliotrope_consumer_batch_repeats)",
                "{{consumer}}",
            ),
            Graph(
                "Records that retention took unread",
                "sum by (consumer, topic) (heliotrope_consumer_lost_records_total)",
                "{{consumer}} {{topic}}",
            ),
        ),
    ),
    "quality": (
        "Heliotrope: data quality",
        (
            Graph("Events by type", "sum by (type) (rate(heliotrope_ingest_events_total[5m]))", "{{type}}", "ops"),
            Graph("Pairs by rule", "sum by (rule) (heliotrope_pairs)", "{{rule}}"),
            Graph("Labels by rule", "sum by (rule) (heliotrope_labels)", "{{rule}}"),
            Graph("Refused pairs by reason", "sum by (reason) (heliotrope_pairs_refused)", "{{reason}}"),
            Graph("Feedback without its answer", "max(heliotrope_feedback_parked)", "parked"),
            Graph("Longest wait for an answer", "max(heliotrope_feedback_parked_age_seconds)", "age", "s"),
            Graph("Dead letters", "heliotrope:events_dead:rate5m", "{{consumer}}", "ops"),
            Graph("Same id, other body", "sum by (kind) (heliotrope_conflicting_events_total)", "{{kind}}"),
            Graph(
                "Time of a batch, mean",
                "sum by (consumer) (rate(heliotrope_consumer_batch_seconds_sum[5m]))"
                " / sum by (consumer) (rate(heliotrope_consumer_batch_seconds_count[5m]))",
                "{{consumer}}",
                "s",
            ),
        ),
    ),
    "drift": (
        "Heliotrope: drift",
        (
            Graph("Detectors", "max by (detector) (heliotrope_detector_value)", "{{detector}}"),
            Graph("Thresholds", "max by (detector) (heliotrope_detector_threshold)", "{{detector}}"),
            Graph(
                "Value as a share of its threshold",
                "max by (detector) (heliotrope_detector_value / heliotrope_detector_threshold)",
                "{{detector}}",
                "percentunit",
            ),
            Graph("Who wants retraining", "max by (detector) (heliotrope_detector_wants_retraining)", "{{detector}}"),
            Graph(
                "Cannot tell",
                'max by (detector) (heliotrope_detector_figure{figure="unmeasurable"})',
                "{{detector}}",
            ),
            Graph(
                "Prompts moved, as a share of their spread",
                'max(heliotrope_detector_figure{detector="prompt_drift", figure="effect"})',
                "effect",
                "percentunit",
            ),
            Graph("Decisions", "sum by (action) (increase(heliotrope_retrain_decisions_total[1h]))", "{{action}}"),
        ),
    ),
    "training": (
        "Heliotrope: training and GPU",
        (
            Graph("Step", "max(heliotrope_training_step)", "step"),
            Graph("Steps per second", "max(heliotrope_training_steps_per_second)", "steps/s"),
            Graph("Loss", "max(heliotrope_training_loss)", "loss"),
            Graph("Reward margin, nats", "max(heliotrope_training_reward_margin_nats)", "margin"),
            Graph("KL to the reference, nats", "max(heliotrope_training_kl_nats)", "KL"),
            Graph("Reward of sampled answers", "max(heliotrope_training_reward)", "reward"),
            Graph("Tokens a second", "max(heliotrope_training_tokens_per_second)", "tokens/s"),
            Graph("Peak memory", "max(heliotrope_training_peak_memory_bytes)", "bytes"),
            Graph("Runs that a guard ended", "sum by (action) (heliotrope_training_guarded_runs)", "{{action}}"),
            Graph("Time left", "max(heliotrope_training_left_seconds)", "left", "s"),
            Graph("What the sweeper did", "sum by (action) (heliotrope_training_runs_swept_total)", "{{action}}"),
            Graph("Jobs elsewhere that nobody has ended", "max(heliotrope_training_left_jobs)", "jobs"),
            Graph("GPU use", "max by (gpu) (DCGM_FI_DEV_GPU_UTIL)", "GPU {{gpu}}", "percent"),
            Graph("GPU memory in use, MiB", "max by (gpu) (DCGM_FI_DEV_FB_USED)", "GPU {{gpu}}"),
            Graph("vLLM requests running", "sum(vllm:num_requests_running)", "running"),
        ),
    ),
    "rollout": (
        "Heliotrope: rollout",
        (
            Graph("Open rollouts by state", "sum by (state) (heliotrope_rollouts_open)", "{{state}}"),
            Graph("Canary's share of users", "max(heliotrope_canary_percent)", "canary", "percent"),
            Graph("E-values", "max by (decision) (heliotrope_rollout_e_value)", "{{decision}}"),
            Graph(
                "Evidence of each guardrail, 1 acts",
                "max by (guardrail) (heliotrope_rollout_guardrail_ratio)",
                "{{guardrail}}",
            ),
            Graph("Prompts compared in a shadow", "max(heliotrope_shadow_prompts)", "prompts"),
            Graph(
                "Evidence of a shadow's guardrails, 1 acts",
                "max by (guardrail) (heliotrope_shadow_guardrail_ratio)",
                "{{guardrail}}",
            ),
            Graph(
                "Answers mirrored to a shadow",
                "sum by (outcome) (increase(heliotrope_shadow_mirrored_total[1h]))",
                "{{outcome}}",
            ),
            Graph("Stage must decide in", "min(heliotrope_rollout_deadline_seconds)", "time left", "s"),
            Graph("A rollback needs a person", "max(heliotrope_rollback_needed)", "1: it does"),
            Graph("Votes", "sum by (arm, value) (heliotrope_rollout_votes)", "{{arm}} {{value}}"),
            Graph(
                "Changes of rollouts",
                "sum by (command) (increase(heliotrope_rollout_changes_total[1h]))",
                "{{command}}",
            ),
            Graph("Rollouts are frozen for", "max(heliotrope_rollouts_frozen_seconds)", "time left", "s"),
            Graph("Approval policy in force", "max(heliotrope_approval_policy_version)", "version"),
            Graph(
                "Deliveries to webhooks",
                "sum by (outcome) (increase(heliotrope_notices_total[1h]))",
                "{{outcome}}",
            ),
            Graph("Oldest notice that no webhook took", "max(heliotrope_notices_waiting_seconds)", "age", "s"),
            Graph("Gates by verdict", "sum by (gate, verdict) (heliotrope_gates_total)", "{{gate}}: {{verdict}}"),
            Graph("Blind comparisons waiting", "max(heliotrope_comparisons_waiting)", "waiting"),
            Graph("Votes on comparisons", "sum by (vote) (heliotrope_comparison_votes_total)", "{{vote}}"),
        ),
    ),
}


def build(name: str) -> Dashboard:
    title, graphs = BOARDS[name]
    board = Dashboard(title).uid(f"heliotrope-{name}").tags(["heliotrope"]).refresh("30s").time("now-6h", "now")
    for n, graph in enumerate(graphs):
        place = GridPos(x=n % COLUMNS * WIDTH, y=n // COLUMNS * HEIGHT, w=WIDTH, h=HEIGHT)
        query = Dataquery().expr(graph.query).legend_format(graph.legend or "__auto")
        source = DataSourceRef(type_val="prometheus", uid="prometheus")
        panel = TimeSeries().title(graph.title).unit(graph.unit).datasource(source).grid_pos(place).with_target(query)
        board = board.with_panel(panel)
    return board


def render(name: str) -> str:
    return f"{JSONEncoder(sort_keys=True, indent=2).encode(build(name).build())}\n"


def main() -> None:
    for name in BOARDS:
        (HERE / "grafana" / "dashboards" / f"{name}.json").write_text(render(name))
    for rules in ("recording.yml", "alerts.yml"):
        shutil.copyfile(HERE / "prometheus" / rules, RULES / rules)


if __name__ == "__main__":
    main()
