"""The data report as one HTML page that needs nothing else. Texts in it may be hostile, so all are escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from services.curator.datasets.domain.charts import Series, draw_bars, draw_columns
from services.curator.datasets.domain.data_card import REASONS
from services.curator.datasets.domain.report import EPSILON_BINS, LARGEST_EPSILON
from shared.page_policy import allow_style_only

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 0 auto; padding: 1rem; color: #222;
background: #fff } p, h1, h3 { overflow-wrap: anywhere } h1 { font-size: 1.5rem }
h2 { font-size: 1.2rem; margin-top: 2rem }
figure { margin: 0 } figcaption { color: #555; font-size: .9rem } svg { width: 100%; max-width: 30rem; height: auto }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 1.5rem }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .3rem .5rem .3rem 0;
border-bottom: 1px solid #ddd; vertical-align: top; overflow-wrap: anywhere } td.number { text-align: right }
.text { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 12rem; overflow: auto; margin: 0 0 .5rem;
background: #f4f4f1; padding: .4rem } .note { border-left: 4px solid #b07a10; padding-left: .8rem }
svg text { font: 12px system-ui, sans-serif; fill: #444 } .one { fill: #b07a10 } .two { fill: #46607a }
.line { stroke: #999 } summary { cursor: pointer } h3 { font-size: 1rem; margin-bottom: .2rem }
@media (prefers-color-scheme: dark) { body { background: #181816; color: #ddd } .text { background: #26261f }
th, td { border-color: #444 } svg text { fill: #bbb } figcaption { color: #aaa } .two { fill: #8ba6c1 } }
"""
POLICY = allow_style_only(STYLE)
LONGEST = 600
"""Characters shown of each text of an example."""
STAGES = {
    "refused": "refused when it was derived: poor quality",
    "left_out": "left out of this dataset",
    "quarantine": "set aside until a person decides",
}


Texts = Mapping[str, Sequence[tuple[str, str]]]
"""(what it is, the text), by the id of a pair, label or event."""


def render_report(manifest: Mapping[str, Any], examples: Texts | None = None) -> str:
    """Render a dataset's report; with `examples` by id, it shows users' words and is for admins alone."""
    report = manifest["report"]
    title = f"Data report {manifest['dataset_sha256'][:12]}"
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head>",
            f"<body><h1>{escape(title)}</h1>",
            _write_notes(manifest, with_examples=examples is not None),
            "<h2>What came in</h2>",
            _write_counts(_list_intake(report["came_in"])),
            "<h2>What was kept</h2>",
            _write_counts(manifest["counts"].items()),
            '<div class="charts">',
            *_draw_counts(manifest),
            *_draw_charts(report),
            "</div>",
            "<h2>What was not kept, and why</h2>",
            *[_write_reason(reason, examples) for reason in report["not_kept"]],
            "" if report["not_kept"] else "<p>Everything was kept.</p>",
            "</body></html>",
            "",
        ]
    )


def _write_notes(manifest: Mapping[str, Any], *, with_examples: bool) -> str:
    notes = [
        f"Dataset {manifest['dataset_sha256']}, for the successor of version {manifest['parent_version']}."
        " No user is named here."
    ]
    if with_examples:
        notes.append("For admins only: the examples are what users and models wrote, less the personal data found.")
    else:
        notes.append("The examples are ids; an admin can read them with their texts from the curator.")
    if manifest.get("erased_rows"):
        notes.append(f"{manifest['erased_rows']} rows were erased since: the pictures still count them.")
    return "".join(f'<p class="note">{escape(note)}</p>' for note in notes)


def _list_intake(came_in: Mapping[str, Any]) -> list[tuple[str, int]]:
    feedback = [(f"feedback: {kind}", count) for kind, count in came_in["feedback"].items()]
    return [
        ("answers that were served", came_in["interactions"]),
        *feedback,
        ("second bodies under a taken id", came_in["conflicting"]),
    ]


def _write_counts(rows: Iterable[tuple[str, int]]) -> str:
    lines = [f'<tr><td>{escape(name)}</td><td class="number">{count:,}</td></tr>' for name, count in rows]
    return f"<table>{''.join(lines)}</table>"


def _draw_counts(manifest: Mapping[str, Any]) -> list[str]:
    """Draw what a manifest counts; one of an early release counts less."""
    prompts = manifest.get("splits", {}).get("prompts", {})
    counts = {"Pairs by rule": "rules", "Labels by rule": "label_rules"}
    drawn = [_frame(caption, _draw_rules(manifest[name])) for caption, name in counts.items() if manifest.get(name)]
    return [*drawn, _frame("Prompts by split", draw_bars(list(prompts.items())))] if prompts else drawn


def _draw_rules(rules: Mapping[str, int]) -> str:
    ranked = sorted(rules.items(), key=lambda one: (-one[1], one[0]))
    return draw_bars([(name.replace("_", " "), count) for name, count in ranked])


def _draw_charts(report: Mapping[str, Any]) -> list[str]:
    epsilon, lengths = report["epsilon"], report["lengths"]
    bins = [f"{at * LARGEST_EPSILON / EPSILON_BINS:.2f}" for at in range(EPSILON_BINS)]
    languages = sorted(report["languages"].items(), key=lambda one: (-one[1], one[0]))
    return [
        _frame(
            "Epsilon: how likely each row is wrong",
            draw_columns(bins, [Series("pairs", epsilon["pairs"]), Series("labels", epsilon["labels"])]),
        ),
        _frame(
            "Lengths in words (characters where no spaces divide them)",
            draw_columns(
                [str(least) for least in lengths["from"]],
                [Series("chosen", lengths["chosen"]), Series("rejected", lengths["rejected"])],
            ),
        ),
        _frame(_tell_concentration("users", report["users"]), draw_bars(_rank(report["users"]["largest"]))),
        _frame(
            _tell_concentration("clusters of prompts", report["clusters"]),
            draw_bars(_rank(report["clusters"]["largest"])),
        ),
        _frame("Languages of chosen answers", draw_bars(languages)),
    ]


def _frame(caption: str, drawing: str) -> str:
    return f"<figure><h3>{escape(caption)}</h3>{drawing}</figure>"


def _tell_concentration(what: str, found: Mapping[str, Any]) -> str:
    shown = min(len(found["largest"]), found["count"])
    return f"{found['count']:,} {what}; {found['half']:,} hold half of the rows. The {shown} largest, in rows"


def _rank(sizes: Sequence[int]) -> list[tuple[str, int]]:
    return [(f"{place}.", size) for place, size in enumerate(sizes, 1)]


def _write_reason(reason: Mapping[str, Any], examples: Texts | None) -> str:
    meaning = REASONS.get(reason["reason"], STAGES[reason["stage"]])
    shown = "".join(_write_example(key, examples) for key in reason["examples"])
    return (
        f"<h3>{escape(reason['reason'])}: {reason['count']:,}</h3><p>{escape(meaning)}</p>"
        f"<details><summary>{len(reason['examples'])} examples</summary>{shown}</details>"
    )


def _write_example(key: str, examples: Texts | None) -> str:
    if examples is None:
        return f"<p><code>{escape(key)}</code></p>"
    if key not in examples:
        return f"<p><code>{escape(key)}</code> is gone: withdrawn or erased.</p>"
    texts = [
        f'<h3>{escape(name)}</h3><p class="text">{escape(text[:LONGEST])}{" ..." if len(text) > LONGEST else ""}</p>'
        for name, text in examples[key]
    ]
    return f"<p><code>{escape(key)}</code></p>{''.join(texts)}"
