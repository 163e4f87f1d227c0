"""What is in a dataset and what is not, and why: the same for the same evidence."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from services.curator.cells.domain.near_gate import MOST_UNRELATED, NearGate
from services.curator.cells.domain.splits import GATE_SHARE, TRAIN_SHARE, VALIDATION_SHARE
from services.curator.datasets.domain.rows import FORMAT
from services.curator.datasets.domain.snapshot import Snapshot
from services.curator.pairs.domain.wording import derive_language, derive_units
from services.curator.weighing.domain.curation import AnyWeighed, Curated
from services.curator.weighing.domain.noise import round_figure
from services.curator.weighing.domain.quarantine import Quarantine
from services.curator.weighing.domain.reliability import FLOOR, PRIOR_MEAN


@dataclass(frozen=True)
class Splitting:
    """By which cells prompts were split, and how near to the gate was too near."""

    cells: str
    renewed: Mapping[str, int]
    """Prompts that had a cell of another kind before, by the split that they came from and that they are in."""
    near_gate: NearGate


@dataclass(frozen=True)
class SnapshotContext:
    """What a manifest says besides what the snapshot holds."""

    parent_dataset: str | None
    parent_version: str
    refused: Mapping[str, int]
    """Pairs of poor quality, by reason: refused when they were derived."""
    splitting: Splitting
    quarantine: Quarantine


def derive_manifest(
    snapshot: Snapshot, curated: Curated, context: SnapshotContext, dataset_sha256: str
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "dataset_sha256": dataset_sha256,
        "parent_dataset": context.parent_dataset,
        "parent_version": context.parent_version,
        "counts": _count_rows(snapshot),
        "rules": _count(map(_name_rule, snapshot.pairs)),
        "label_rules": _count(map(_name_rule, snapshot.labels)),
        "refused": dict(sorted(context.refused.items())),
        "left_out": _count(snapshot.left_out.values()),
        "quarantine": {
            "events_waiting": _count(context.quarantine.waiting.values()),
            "events_rejected": len(context.quarantine.rejected),
        },
        "calibration": [asdict(line) for line in curated.calibration],
        "position_bias": asdict(curated.position),
        "raters": _describe_raters(curated),
        "weights": {"pairs": _sum_weights(snapshot.pairs), "labels": _sum_weights(snapshot.labels)},
        "splits": _describe_splits(snapshot, context),
        "texts": _describe_texts(snapshot),
        "pair_ids": sorted(pair.item.pair_id for pair in snapshot.pairs),
        "label_ids": sorted(label.item.label_id for label in snapshot.labels),
    }


def _count_rows(snapshot: Snapshot) -> dict[str, int]:
    """Count the rows of each file."""
    return {
        "train": len(snapshot.train),
        "validation": len(snapshot.validation),
        "labels": len(snapshot.labels),
        "sft": len(snapshot.edits) + len(snapshot.praised),
        "safety": len(snapshot.harmful),
    }


def _describe_splits(snapshot: Snapshot, context: SnapshotContext) -> dict[str, Any]:
    near_gate = context.splitting.near_gate
    return {
        "cells": context.splitting.cells,
        "renewed": dict(context.splitting.renewed),
        "quotas": {"train": TRAIN_SHARE, "validation": VALIDATION_SHARE, "gate": GATE_SHARE},
        "prompts": _count_prompts(snapshot) | {"gate": near_gate.gate_prompts},
        "near_gate": {
            "most_unrelated": MOST_UNRELATED,
            "thresholds": dict(near_gate.thresholds),
            "measured_on": dict(near_gate.measured_on),
            "prompts_left_out": len(near_gate.prompts),
        },
    }


def _count(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _count_prompts(snapshot: Snapshot) -> dict[str, int]:
    return {
        "train": len({one.item.prompt_hash for one in snapshot.everything if one.item.split == "train"}),
        "validation": len({pair.item.prompt_hash for pair in snapshot.validation}),
    }


def _sum_weights(weighed: Sequence[AnyWeighed]) -> dict[str, float]:
    """Sum 1 - 2 epsilon by rule: how many certain rows the doubtful ones are worth."""
    totals: dict[str, float] = defaultdict(float)
    for one in weighed:
        totals[_name_rule(one)] += 1 - 2 * one.epsilon
    return {rule: round_figure(total) for rule, total in sorted(totals.items())}


def _name_rule(one: AnyWeighed) -> str:
    return f"{one.item.rule} v{one.item.rule_version}"


def _describe_raters(curated: Curated) -> dict[str, Any]:
    raters = curated.reliability.raters.values()
    return {
        "users": len(raters),
        "votes": sum(rater.votes for rater in raters),
        "prior": round_figure(PRIOR_MEAN),
        "floor": FLOOR,
        "below_floor": sum(rater.reliability < FLOOR for rater in raters),
        "contrary": sum(rater.contrary for rater in raters),
        "reliability": _count(f"{max(int(rater.reliability * 10), 0) / 10:.1f}" for rater in raters),
        "closed_groups": [len(group) for group in curated.reliability.closed_groups],
        "model_temperature": curated.reliability.temperature,
        "tastes": [asdict(cluster) for cluster in curated.preference_clusters],
    }


def _describe_texts(snapshot: Snapshot) -> dict[str, Any]:
    """Measure what a model might learn instead of quality: whether longer answers win, and in which languages."""
    lengths = [(len(derive_units(one.item.chosen)), len(derive_units(one.item.rejected))) for one in snapshot.pairs]
    count = max(len(lengths), 1)
    return {
        "mean_chosen_words": round_figure(sum(chosen for chosen, _ in lengths) / count),
        "mean_rejected_words": round_figure(sum(rejected for _, rejected in lengths) / count),
        "chosen_is_longer": round_figure(sum(chosen > rejected for chosen, rejected in lengths) / count),
        "languages": _count(derive_language(pair.item.chosen) or "unknown" for pair in snapshot.pairs),
    }
