"""One click's way to a served answer, as steps to be drawn one below the other."""

from dataclasses import dataclass, field
from typing import Any

SHOWN_OF_A_HASH = 12
CLICKS = {"edit": "The user rewrote it", "choice": "The user preferred another answer"}


@dataclass(frozen=True)
class Step:
    """`by` is the service that did it; `texts` are (label, tone, text)."""

    title: str
    by: str
    facts: list[str] = field(default_factory=list)
    id: str = ""
    texts: list[tuple[str, str, str]] = field(default_factory=list)


def derive_way(report: dict[str, Any]) -> list[Step]:
    story = report.get("story")
    if not story:
        return []
    steps = [_answer(story), _click(story)]
    if story.get("pair"):
        steps.append(_pair(story["pair"]))
    steps.append(_dataset(story["dataset"]))
    steps += [step for step in (_training(report, story), _gates(report), _canary(report, story)) if step is not None]
    return [*steps, _served(story)]


def _answer(story: dict[str, Any]) -> Step:
    texts = [("asked", "base", story["asked"]), (f"version {story['answered_by']} answered", "old", story["answered"])]
    return Step("A user asked", "gateway", ["interaction"], _cut(story["interaction_id"]), texts)


def _click(story: dict[str, Any]) -> Step:
    click = story["click"]
    texts = [("wrote instead", "new", click["text"])] if click.get("text") else []
    title = CLICKS.get(click["type"], f"The user gave feedback: {click['type']}")
    return Step(title, "ingest", ["accepted once the broker had it", "event"], _cut(click["event_id"]), texts)


def _pair(pair: dict[str, Any]) -> Step:
    facts = [f"rule {pair['rule']}", f"split {pair['split']}", f"chance of being wrong {pair['epsilon']:.0%}", "pair"]
    texts = [("chosen", "new", pair["chosen"]), ("rejected", "old", pair["rejected"])]
    return Step("It became a preference pair", "curator", facts, _cut(pair["pair_id"]), texts)


def _dataset(dataset: dict[str, Any]) -> Step:
    counts = dataset["counts"]
    facts = [f"{counts.get('train', 0):,} pairs to train on", f"{counts.get('validation', 0):,} to validate", "SHA-256"]
    return Step("It was frozen in a dataset", "curator", facts, _cut(dataset["sha256"]))


def _training(report: dict[str, Any], story: dict[str, Any]) -> Step | None:
    runs = [run for run in report.get("trainings") or [] if run["candidate_version"] == story["version"]]
    if not runs:
        return None
    facts = [f"recipe {runs[0]['recipe']['name']}", f"parent version {runs[0]['parent_version']}", "run"]
    return Step(f"Version {story['version']} was trained on it", "trainer", facts, _cut(runs[0]["run_id"]))


def _gates(report: dict[str, Any]) -> Step | None:
    gates = report.get("gates")
    if not gates:
        return None
    passed = sum(gate["verdict"] == "pass" for gate in gates)
    return Step("The candidate was judged blind", "evaluator", [f"{passed} of {len(gates)} gates passed"])


def _canary(report: dict[str, Any], story: dict[str, Any]) -> Step | None:
    canaries = [each for each in report.get("canaries") or [] if each["candidate_version"] == story["version"]]
    if not canaries:
        return None
    percents = ", ".join(f"{stage['percent']:.0f}%" for stage in canaries[0]["stages"])
    return Step(f"It was approved and served {percents} of users", "deployer", [canaries[0]["summary"]])


def _served(story: dict[str, Any]) -> Step:
    served = story["served"]
    texts = [("asked", "base", served["asked"]), (f"version {story['version']} answered", "new", served["answered"])]
    facts = [f"one of {story['served_count']:,} recorded answers of this version", "interaction"]
    return Step("Somebody else was answered by it", "gateway", facts, _cut(served["interaction_id"]), texts)


def _cut(name: str) -> str:
    return name if len(name) <= 36 else f"{name[:SHOWN_OF_A_HASH]}…"
