"""`make bench-paraphrases`: do paraphrases come to one side of the gate, and what is left out for being near to it?

200 groups of four paraphrases by hand, 50 in English, Chinese, Spanish and about code, every other one kept from
tuning; around them some 10,000 prompts that paraphrase none of them. The curator's own encoder, placement and nearness.
Each run gives the prompts other hashes, and with them another order and other draws. Beside it: SimHash, as before.
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import combinations
from random import Random
from statistics import fmean

import numpy as np

from bench.paraphrases.consuming import compare_consumers
from bench.paraphrases.groups import LANGUAGES, Asked, Half, list_asked
from bench.paraphrases.simhash import derive_simhash_split
from local.results import Goal, Row, write_result
from services.curator.cells.adapters.universal_sentence_encoder import UniversalSentenceEncoder
from services.curator.cells.domain.near_gate import find_near_gate
from services.curator.cells.domain.placement import Anchors, Placement, Unplaced, place
from services.curator.cells.domain.vectors import Vectors, find_nearest, pack, unpack

GATE_PROMPTS = (50, 2_000)
NOTHING = Anchors([], [], np.zeros(0, dtype=np.float32), np.zeros((0, 0), dtype=np.float32), {})

Figures = defaultdict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=["tuning", "reporting", "both"], default="reporting")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--consumer-runs", type=int, default=5, help="0: leave the consumer's throughput out")
    options = parser.parse_args()
    asked = list_asked(options.half)
    vectors = unpack(pack(UniversalSentenceEncoder().embed([one.text for one in asked])))
    figures: Figures = defaultdict(list)
    for run in range(options.runs):
        measure(asked, vectors, run, figures)
    consumer = compare_consumers(1_500, options.consumer_runs) if options.consumer_runs else {}
    report(options.half, asked, figures, consumer)


def measure(asked: Sequence[Asked], vectors: Vectors, run: int, figures: Figures) -> None:
    """Place all prompts under the hashes of this run, and note what came of it."""
    hashes = [sha256(f"{run}:{one.text}".encode()).hexdigest() for one in asked]
    placement = place([Unplaced(key) for key in hashes], vectors, NOTHING, {}, "bench")
    splits = [placement.prompts[key][1] for key in hashes]
    for language, share in measure_sides(asked, splits).items():
        figures[f"pairs on one side, {language}"].append(share)
    note_cells(placement, figures)
    for count in GATE_PROMPTS:
        note_nearness(asked, hashes, vectors, splits, count, Random(run), figures)


def measure_sides(asked: Sequence[Asked], splits: Sequence[str]) -> dict[str, float]:
    """Measure the share of paraphrase pairs of which both or neither are in the gate, by language."""
    groups: dict[str, list[bool]] = defaultdict(list)
    for one, split in zip(asked, splits, strict=True):
        if one.group:
            groups[one.group].append(split == "gate")
    return {
        language: fmean(
            a == b
            for group, sides in groups.items()
            if group.startswith(f"{language} ")
            for a, b in combinations(sides, 2)
        )
        for language in LANGUAGES
    }


def note_cells(placement: Placement, figures: Figures) -> None:
    sizes = Counter(cell for cell, _ in placement.prompts.values())
    splits = Counter(split for _, split in placement.prompts.values())
    total = sum(sizes.values())
    figures["largest cell"].append(max(sizes.values()) / total)
    figures["cells"].append(len(sizes))
    for split in ("gate", "validation"):
        figures[f"prompts in {split}"].append(splits[split] / total)


def note_nearness(
    asked: Sequence[Asked],
    hashes: Sequence[str],
    vectors: Vectors,
    splits: Sequence[str],
    count: int,
    random: Random,
    figures: Figures,
) -> None:
    """Leave out what is near to this many gate prompts, and note how much of it asks what one of them asks."""
    in_gate = [at for at, split in enumerate(splits) if split == "gate"]
    gate = sorted(random.sample(in_gate, min(count, len(in_gate))))
    others = [at for at, split in enumerate(splits) if split != "gate"]
    languages = [asked[at].language for at in others]
    near = find_near_gate([hashes[at] for at in others], vectors[others], languages, vectors[gate])
    asked_in_gate = {asked[at].group for at in gate} - {None}
    related = [at for at in others if asked[at].group in asked_in_gate]
    nearest = dict(zip(related, find_nearest(vectors[related], vectors[gate]), strict=True))
    left = [at for at in related if hashes[at] not in near.prompts]
    name = f"{len(gate)} gate prompts"
    figures[f"{name}: paraphrases left above the threshold"].append(
        float(sum(nearest[at] >= near.thresholds[asked[at].language] for at in left))
    )
    if related:
        figures[f"{name}: straddling paraphrases left out"].append(1 - len(left) / len(related))
    for language in LANGUAGES:
        unrelated = [at for at in others if asked[at].language == language and at not in nearest]
        figures[f"{name}: unrelated left out, {language}"].append(fmean(hashes[at] in near.prompts for at in unrelated))
        figures[f"{name}: threshold, {language}"].append(near.thresholds[language])


def report(half: Half, asked: Sequence[Asked], figures: Figures, consumer: Mapping[str, list[float]]) -> None:
    before = measure_sides(asked, [derive_simhash_split(one.text) for one in asked])
    rows = [
        Row.of(name, "events/s" if name in consumer else "", values)
        for name, values in (dict(figures) | {name: list(values) for name, values in consumer.items()}).items()
    ]
    rows += [Row.of(f"pairs on one side before (SimHash), {name}", "", [share]) for name, share in before.items()]
    goals = [
        Goal(f"pairs on one side, {language}", fmean(figures[f"pairs on one side, {language}"]), 0.9, "at_least")
        for language in LANGUAGES
    ]
    goals.append(Goal("largest cell", max(figures["largest cell"]), 0.02, "at_most"))
    for name, values in figures.items():
        if "unrelated left out" in name:
            goals.append(Goal(name, max(values), 0.05, "at_most"))
        elif "above the threshold" in name:
            goals.append(Goal(name, max(values), 0, "at_most"))
    for of in ("by the clock", "by its CPU") if consumer else ():
        now, peer = consumer[f"consumer, now, {of}"], consumer[f"consumer, before, {of}"]
        ratio = fmean(one / other for one, other in zip(now, peer, strict=True))
        goals.append(Goal(f"the consumer's throughput over that before, {of}", ratio, 0.9, "at_least"))
    groups = len({one.group for one in asked} - {None})
    settings = {"half": half, "groups": groups, "prompts": len(asked), "embedder": UniversalSentenceEncoder.version}
    write_result("paraphrases", rows, goals, settings)


if __name__ == "__main__":
    main()
