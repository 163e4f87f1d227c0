"""What goes into a dataset: a pure function of the standing pairs and labels, in one order."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from services.curator.domain.rules import EDIT
from services.curator.domain.text import derive_shingles
from shared.events import Message

SNAPSHOT_VERSION = 1
TOO_NEAR = 0.7


@dataclass(frozen=True)
class PairEvidence:
    """An active pair as it stands; `user` is one of those who said so, None for an anonymous one."""

    pair_id: str
    prompt_hash: str
    split: str
    messages: list[Message]
    chosen: str
    rejected: str
    epsilon: float
    rule: str
    rule_version: int
    user: str | None


@dataclass(frozen=True)
class LabelEvidence:
    label_id: str
    prompt_hash: str
    split: str
    messages: list[Message]
    completion: str
    desirable: bool
    epsilon: float
    rule: str
    rule_version: int
    user: str | None


Item = TypeVar("Item", PairEvidence, LabelEvidence)


@dataclass(frozen=True)
class Prompting:
    """A prompt's words, as near-copies are looked for."""

    prompt_hash: str
    question: str


@dataclass(frozen=True)
class Caps:
    per_user: int
    per_prompt: int


@dataclass(frozen=True)
class Snapshot:
    """Rows of each file, by id, and what was left out by reason. Of `gate` there is nothing."""

    train: list[PairEvidence]
    validation: list[PairEvidence]
    labels: list[LabelEvidence]
    left_out: dict[str, int]

    @property
    def sft(self) -> list[PairEvidence]:
        """The corrections among the training pairs."""
        return [pair for pair in self.train if pair.rule == EDIT.name]


def derive_snapshot(
    pairs: Iterable[PairEvidence], labels: Iterable[LabelEvidence], near_gate: frozenset[str], caps: Caps
) -> Snapshot:
    """- nothing of a gate prompt, nor of a prompt too near to one (`near_gate`)
    - of one prompt, then of one user, no more than the caps allow; ids are hashes, so the first by id are a fair draw
    """
    left_out: Counter[str] = Counter()
    kept = _filter_near(sorted(pairs, key=lambda pair: pair.pair_id), near_gate, left_out, "pairs")
    kept = _cap(kept, caps, left_out, "pairs")
    training_labels = (label for label in labels if label.split == "train")
    candidates = _filter_near(sorted(training_labels, key=lambda item: item.label_id), near_gate, left_out, "labels")
    return Snapshot(
        train=[pair for pair in kept if pair.split == "train"],
        validation=[pair for pair in kept if pair.split == "validation"],
        labels=_cap(candidates, caps, left_out, "labels"),
        left_out=dict(sorted(left_out.items())),
    )


def _filter_near(items: list[Item], near_gate: frozenset[str], left_out: Counter[str], kind: str) -> list[Item]:
    candidates = [item for item in items if item.split != "gate"]
    kept = [item for item in candidates if item.prompt_hash not in near_gate]
    if len(kept) < len(candidates):
        left_out[f"{kind}_near_gate"] += len(candidates) - len(kept)
    return kept


def _cap(items: list[Item], caps: Caps, left_out: Counter[str], kind: str) -> list[Item]:
    of_prompt: Counter[str] = Counter()
    of_user: Counter[str] = Counter()
    kept: list[Item] = []
    for item in items:
        if of_prompt[item.prompt_hash] >= caps.per_prompt:
            left_out[f"{kind}_prompt_cap"] += 1
        elif item.user is not None and of_user[item.user] >= caps.per_user:
            left_out[f"{kind}_user_cap"] += 1
        else:
            of_prompt[item.prompt_hash] += 1
            if item.user is not None:
                of_user[item.user] += 1
            kept.append(item)
    return kept


def find_near(prompts: Sequence[Prompting], gate: Sequence[Prompting]) -> frozenset[str]:
    """Hashes of the prompts whose word 3-shingles have a Jaccard similarity of 0.7 or more with some gate prompt's."""
    gate_shingles = [derive_shingles(prompt.question) for prompt in gate]
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, shingles in enumerate(gate_shingles):
        for shingle in shingles:
            holders[shingle].append(number)
    near: set[str] = set()
    for prompt in prompts:
        shingles = derive_shingles(prompt.question)
        shared = Counter(number for shingle in shingles for number in holders.get(shingle, ()))
        if any(n >= TOO_NEAR * (len(shingles) + len(gate_shingles[at]) - n) for at, n in shared.items()):
            near.add(prompt.prompt_hash)
    return frozenset(near)


def derive_manifest(snapshot: Snapshot, refused: dict[str, int], dataset_sha256: str) -> dict[str, Any]:
    """What is in the dataset and what is not, and why. The same for the same evidence."""
    pairs = [*snapshot.train, *snapshot.validation]
    return {
        "format": SNAPSHOT_VERSION,
        "dataset_sha256": dataset_sha256,
        "counts": {
            "train": len(snapshot.train),
            "validation": len(snapshot.validation),
            "labels": len(snapshot.labels),
            "sft": len(snapshot.sft),
        },
        "rules": dict(sorted(Counter(f"{pair.rule} v{pair.rule_version}" for pair in pairs).items())),
        "left_out": snapshot.left_out,
        "refused": refused,
        "pair_ids": sorted(pair.pair_id for pair in pairs),
        "label_ids": sorted(label.label_id for label in snapshot.labels),
    }
