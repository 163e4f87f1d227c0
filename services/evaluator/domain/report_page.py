"""The report as one HTML page that needs nothing else. Every text in it may be hostile, so all of it is escaped."""

from collections.abc import Iterable
from html import escape
from typing import Any

from services.evaluator.domain.interval_plot import draw_interval
from shared.conversation import derive_text
from shared.page_policy import allow_style_only

WORST = 5
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 1.5rem auto; padding: 0 1rem; color: #222 }
h1 { line-height: 1.2 } h1, p, td, summary, code { overflow-wrap: anywhere }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top }
td.text { white-space: pre-wrap; min-width: 11rem }
.gates { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 1rem }
.gate { border: 1px solid #ddd; border-radius: .5rem; padding: .6rem .8rem } .gate h3, .gate p { margin: .2rem 0 }
svg { width: 100%; max-width: 24rem; height: auto } svg text { font-size: 11px; fill: #555 }
svg line { stroke: #222; stroke-width: 2 } svg circle { fill: #222 } .allowed { fill: #cfe8d5 }
.pass { color: #14713a } .fail { color: #a11 } .inconclusive { color: #8a5a00 }
"""
POLICY = f'<meta http-equiv="Content-Security-Policy" content="{escape(allow_style_only(STYLE))}">'
FACTS = (
    "evaluation_id", "request_id", "run_id", "dataset_sha256", "weights_sha256", "policy_sha256", "completed_at",
)  # fmt: skip
RATER_FIGURES = ("score", "leaning", "left_share", "consistent")


def render_page(report: dict[str, Any]) -> str:
    title = f"Version {report['candidate_version']} against {report['champion_version']}: {report['verdict']}"
    prompts = sorted(report["prompts"], key=_find_score)
    head = (
        f'<html lang="en"><head><meta charset="utf-8">{POLICY}<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
    )
    return "\n".join(
        [
            "<!doctype html>",
            head,
            f'<body><h1 class="{escape(report["verdict"])}">{escape(title)}</h1>',
            f"<p>{_tell_reasons(report)}</p>",
            "<h2>Gates</h2>",
            "<p>The green stretch is where the whole interval has to lie.</p>",
            f'<div class="gates">{"".join(_gate(gate) for gate in report["gates"])}</div>',
            *_tournament(report.get("tournament")),
            *_votes(report["votes"], report["generation"]),
            "<h2>Where the candidate did worst</h2>",
            _prompts(prompts[:WORST]),
            f"<details><summary>All {len(prompts)} prompts</summary>{_prompts(prompts)}</details>",
            *_not_measured(report["generation"].get("not_measured") or {}),
            "<h2>Data and lineage</h2>",
            _table([], [[_cell(name), _cell(value)] for name, value in _list_facts(report)]),
            "</body></html>",
        ]
    )


def _tell_reasons(report: dict[str, Any]) -> str:
    """Name the gates that decided, and those that only warn."""
    blocking = [gate for gate in report["gates"] if gate.get("blocks", True)]
    decided = [gate["name"] for gate in blocking if gate["verdict"] == report["verdict"]]
    warned = [gate["name"] for gate in report["gates"] if gate not in blocking and gate["verdict"] != "pass"]
    told = "every gate that blocks passed" if report["verdict"] == "pass" else f"because of {', '.join(decided)}"
    return escape(f"{told}; to be looked at: {', '.join(warned)}" if warned else told)


def _gate(gate: dict[str, Any]) -> str:
    more = gate.get("more_needed")
    kind = "" if gate.get("blocks", True) else " (only warns)"
    visible = _number(gate.get("minimum_detectable_effect"))
    return (
        f'<section class="gate"><h3>{escape(gate["name"])}: <span class="{escape(gate["verdict"])}">'
        f"{escape(gate['verdict'])}</span>{kind}</h3>{draw_interval(gate)}<p>{escape(gate['summary'])}</p>"
        f"<p>n {_number(gate.get('n'))}{f', smallest visible effect {visible}' if visible else ''}"
        f"{f', about {more} more would decide' if more else ''}</p></section>"
    )


def _tournament(tournament: dict[str, Any] | None) -> list[str]:
    """Show how the candidates of one request stand, with intervals that hold together; nothing for a single one."""
    if tournament is None:
        return []
    rows = [
        [
            _cell(place["candidate"]),
            _cell(f"{place['effect']:.1%} ({place['low']:.1%} to {place['high']:.1%})"),
            _cell("yes" if place["beats_champion"] else "not shown"),
            _cell(f"{place['best_rank']} to {place['worst_rank']}"),
            _cell(f"{place['verdict']}{': ' if place['stopped_by'] else ''}{', '.join(place['stopped_by'])}"),
        ]
        for place in tournament["places"]
    ]
    rows += [[_cell(name), _cell(reason), *[_cell("")] * 3] for name, reason in tournament["not_ranked"].items()]
    told = f"{tournament['winner']} may go on" if tournament["winner"] else "nobody passes every gate"
    head = ["candidate", "win rate against the champion", "surely better", "rank", "gates"]
    return ["<h2>Tournament</h2>", f"<p>{escape(told)}; {tournament['units']} units.</p>", _table(head, rows)]


def _votes(votes: dict[str, Any], generation: dict[str, Any]) -> list[str]:
    counts = (
        f"{votes['cast']} of {votes['asked']} cast: left {votes['left']}, right {votes['right']}, ties {votes['tie']}."
    )
    rows = [
        [_cell(each["rater"]), _cell(each["votes"]), *(_cell(_number(each[name])) for name in RATER_FIGURES)]
        for each in votes.get("raters", [])
    ]
    head = ["rater", "votes", "candidate's score", "leaning", "left side", "same in both orders"]
    if (generation.get("policy") or {}).get("win_rate", {}).get("estimand") == "panel":
        counts += " The raters are a panel: this is the opinion of these persons, and says nothing of users at large."
    return ["<h2>Votes</h2>", f"<p>{counts}</p>", *([_table(head, rows)] if rows else [])]


def _not_measured(missing: dict[str, str]) -> list[str]:
    rows = [[_cell(name), _cell(reason)] for name, reason in missing.items()]
    return ["<h2>What was not measured</h2>", _table(["", "why"], rows)] if rows else []


def _list_facts(report: dict[str, Any]) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [(name, report.get(name) or "") for name in FACTS]
    if report.get("refused_share") is not None:
        facts.append(("refused_share", f"{report['refused_share']:.1%}"))
    if budget := report["generation"].get("error_budget"):
        told = f"{budget['spent']:.3g} of {budget['allowed']:.3g} spent by {budget['tests']} candidates before this one"
        facts.append(("false promotions a quarter", f"{told}; its own level {budget['next_level']:.2%}"))
    return facts + [
        (f"refused: {reason}", f"{count} rows") for reason, count in (report.get("refused_rows") or {}).items()
    ]


def _find_score(prompt: dict[str, Any]) -> float:
    score = prompt["candidate_score"]
    return 2.0 if score is None else float(score)


def _prompts(prompts: list[dict[str, Any]]) -> str:
    return _table(["prompt", "candidate", "champion", "candidate's score"], [_prompt(prompt) for prompt in prompts])


def _prompt(prompt: dict[str, Any]) -> list[str]:
    answers = [_text(prompt["candidate"]), _text(prompt["champion"])]
    return [_text(_question(prompt["messages"])), *answers, _cell(_number(prompt["candidate_score"]))]


def _question(messages: list[dict[str, Any]]) -> str:
    return "\n".join(f"{message.get('role', '')}: {derive_text(message)}" for message in messages)


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    header = f"<tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>" if head else ""
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f'<div class="wide"><table>{header}{body}</table></div>'


def _cell(value: object) -> str:
    return f"<td>{escape(str(value))}</td>"


def _text(value: str) -> str:
    return f'<td class="text">{escape(value)}</td>'


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
