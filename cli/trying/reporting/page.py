"""The report as one page that needs nothing else; every text of models and users in it is escaped."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from cli.trying.verdicts import Verdict
from services.curator.datasets.domain.data_card import REASONS
from services.evaluator.domain.interval_plot import draw_interval
from shared.page_policy import allow_style_only

STYLE = """
:root { color-scheme: light dark; --line: #8885; --quiet: #6b6b6b; --ink: #222 }
:root { --good: #1a7f45; --bad: #c0392b; --open: #8a5a00 }
@media (prefers-color-scheme: dark) {
  :root { --quiet: #a5a5a5; --ink: #ddd; --good: #5fd08f; --bad: #ff8a7a; --open: #e0ac4d }
}
body { font: 16px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 1.5rem auto; padding: 0 1rem }
h1 { font-size: 1.7rem; line-height: 1.25 } h2 { margin-top: 2rem; font-size: 1.25rem }
h1, h2, p, li, td, th, code { overflow-wrap: anywhere }
.quiet { color: var(--quiet) } .better { color: var(--good) } .worse { color: var(--bad) }
.no_evidence, .cannot_say { color: var(--open) }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line) }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr)); gap: .8rem }
.card { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .9rem; margin: .8rem 0 }
.card p { margin: .2rem 0 } .text { white-space: pre-wrap }
.figures { display: flex; flex-wrap: wrap; gap: .4rem 2rem; padding: 0; list-style: none }
.figures b { display: block; font-size: 1.4rem }
svg { width: 100%; max-width: 26rem; height: auto } svg text { font-size: 11px; fill: var(--quiet) }
svg line { stroke: var(--ink); stroke-width: 2 } svg circle { fill: var(--ink) } .allowed { fill: #1a7f4533 }
code { background: #8882; padding: .1rem .3rem; border-radius: .2rem }
"""
HEADLINES: Mapping[Verdict, str] = {
    "better": "This feedback makes your model better",
    "worse": "Trained on this feedback, your model gets worse",
    "no_evidence": "No evidence that this feedback makes your model better",
    "cannot_say": "Whether this feedback makes your model better cannot be said",
}
STAGES = {"train": "to train on", "validation": "to look at while training", "gate": "held out"}


def render_page(content: Mapping[str, Any]) -> str:
    """Render the report. Its policy lets nothing in but its own style sheet."""
    headline = HEADLINES[content["verdict"]]
    policy = f'<meta http-equiv="Content-Security-Policy" content="{escape(allow_style_only(STYLE))}">'
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">' + policy,
            '<meta name="viewport" content="width=device-width">',
            f"<title>{escape(headline)}</title><style>{STYLE}</style></head><body>",
            f'<h1 class="{escape(content["verdict"])}">{escape(headline)}</h1>',
            *_tell_effect(content),
            *_list("What is missing", content["missing"]),
            *_tell_deployment(content),
            *_show_answers(content["answers"]),
            *_tell_data(content),
            *_tell_split(content["split"]),
            *_tell_training(content["training"]),
            *_tell_footnote(content["pair_accuracy"]),
            f'<p class="quiet">{escape(_tell_run(content))}</p></body></html>',
        ]
    )


def _tell_effect(content: Mapping[str, Any]) -> list[str]:
    measure, effect = content["measure"], content["effect"]
    because = f"<p>Because {escape(content['because'])}.</p>"
    if measure is None:
        return [because]
    lines = [f"<p>Measured: {escape(measure['what'])} ({escape(measure['name'])}).</p>"]
    if effect is not None:
        low, high = content["interval"]
        found = measure["found"]
        lines.append(
            f'<ul class="figures"><li><b>{effect:.0%}</b> of comparisons won by the new answers</li>'
            f"<li><b>{low:.0%} to {high:.0%}</b> 95% interval; 50% is no effect</li>"
            f"<li><b>{found['looks']}</b> comparisons in {found['units']} regions of prompts</li></ul>"
        )
        lines.append(draw_interval({"name": "win_rate", "effect": effect, "low": low, "high": high}))
    return [*lines, because, *_tell_trust(measure)]


def _tell_trust(measure: Mapping[str, Any]) -> list[str]:
    if measure["kind"] == "rating":
        return ["<p>This speaks for the one person who rated, and for nobody else.</p>"]
    trust = measure["trust"]
    if trust is None:
        return []
    span = f"{trust['effect']:.0%} (95% interval {trust['low']:.0%} to {trust['high']:.0%}, {trust['looks']} pairs)"
    if measure["kind"] == "judge":
        return [f"<p>The judge prefers what the file's own users preferred in {span}.{_tell_seat(measure)}</p>"]
    return [f"<p>On held-out pairs the reward model prefers what users preferred in {span}; above 60% is wanted.</p>"]


def _tell_seat(measure: Mapping[str, Any]) -> str:
    bias = measure["seat_bias"]
    return "" if bias is None else f" Of its decisions {0.5 + bias:.0%} go to the answer that stands first."


def _list(title: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    return [f"<h2>{escape(title)}</h2><ul>", *(f"<li>{escape(item)}</li>" for item in items), "</ul>"]


def _tell_deployment(content: Mapping[str, Any]) -> list[str]:
    if content["deploy"] is None:
        return []
    return [f"<h2>Deploy it</h2><p><code>{escape(content['deploy'])}</code></p>"]


def _show_answers(answers: Sequence[Mapping[str, Any]]) -> list[str]:
    if not answers:
        return []
    return ["<h2>Answers to prompts that were held out, the worst first</h2>", *map(_show_answer, answers)]


def _show_answer(answer: Mapping[str, Any]) -> str:
    score = answer["score"]
    told = "" if score is None else {1.0: "new preferred", 0.0: "old preferred"}.get(score, f"undecided ({score:g})")
    sides = "".join(f'<div><b>{side}</b><p class="text">{escape(answer[side])}</p></div>' for side in ("old", "new"))
    asked = f'<p class="text"><b>{escape(answer["prompt"])}</b></p>'
    return f'<div class="card">{asked}<div class="sides">{sides}</div><p class="quiet">{told}</p></div>'


def _tell_data(content: Mapping[str, Any]) -> list[str]:
    read = content["read"]
    files = ", ".join(content["files"])
    rows = [("records", read["records"]), ("answers", read["answers"])]
    rows += [(f"feedback: {name}", count) for name, count in read["feedback"].items()]
    rows += [
        (f"pairs by rule {rule}, {state}", count)
        for rule, states in read["pairs"].items()
        for state, count in states.items()
    ]
    rows += [(f"labels: {name}", count) for name, count in read["labels"].items()]
    rows += [(f"not said: {name}", count) for name, count in read["unsaid"].items()]
    refused = [(_explain(reason), count) for reason, count in content["refused"].items()]
    return [
        f"<h2>What is in it</h2><p>{escape(files)}, read as {escape(content['source'])}.</p>",
        _table(rows),
        *(["<h2>What was not used, and why</h2>", _table(refused)] if refused else []),
    ]


def _explain(reason: str) -> str:
    return f"{reason}: {REASONS[reason]}" if reason in REASONS else reason


def _tell_split(split: Mapping[str, Any] | None) -> list[str]:
    if split is None:
        return []
    rows = [(f"prompts {STAGES[name]}", count) for name, count in split["prompts"].items()]
    rows += [
        ("regions of prompts", split["regions"]),
        ("held-out regions", split["held_out_regions"]),
        ("pairs trained on", split["train_pairs"]),
        ("pairs held out", split["held_out_pairs"]),
        ("labels", split["labels"]),
        ("prompts left out of training, too near to a held-out one", split["near"]),
        ("events set aside as made rather than meant", split["quarantined"]),
        *((f"prompts in {name}", count) for name, count in split["languages"].items()),
    ]
    nearest = ", ".join(f"{name} {value:g}" for name, value in split["near_thresholds"].items())
    told = f"Regions are split whole. A training prompt is left out from this cosine with a held-out one on: {nearest}."
    return ["<h2>Trained on and held out</h2>", f"<p>{escape(told)}</p>", _table(rows)]


def _tell_training(training: Mapping[str, Any] | None) -> list[str]:
    if training is None:
        return []
    told = (
        f"{training['method']} with LoRA at a rate of {training['learning_rate']:g}, {training['steps']} steps on "
        f"{training['rows']} rows in {training['seconds']:.0f} s: {training['summary']}."
    )
    return [f"<h2>Training</h2><p>{escape(told)}</p>"]


def _tell_footnote(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return []
    return [
        f'<p class="quiet">Footnote: the new model favours what users preferred more than the old one does in '
        f"{found['effect']:.0%} of {found['looks']} held-out pairs (95% interval {found['low']:.0%} to "
        f"{found['high']:.0%}). That is not how good its answers are, and decides nothing.</p>"
    ]


def _tell_run(content: Mapping[str, Any]) -> str:
    student = f", student {content['student']}" if content["student"] else ""
    return (
        f"Model {content['model']}{student}; {content['seconds']:.0f} s of {content['budget_seconds']:.0f} s given. "
        "This page holds texts of your files, redacted as the curator redacts them: share it as you would share those."
    )


def _table(rows: Sequence[tuple[str, object]]) -> str:
    cells = "".join(f'<tr><td>{escape(name)}</td><td class="number">{_show(value)}</td></tr>' for name, value in rows)
    return f'<div class="wide"><table>{cells}</table></div>'


def _show(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else escape(str(value))
