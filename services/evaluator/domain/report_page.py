"""The report as one HTML page that needs nothing else. Every text in it may be hostile, so all of it is escaped."""

from collections.abc import Iterable
from html import escape
from typing import Any

from shared.conversation import derive_text
from shared.page_policy import allow_style_only

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 } th, td { text-align: left; padding: .4rem .6rem;
border-bottom: 1px solid #ddd; vertical-align: top } td.text { white-space: pre-wrap; overflow-wrap: anywhere }
.pass { color: #14713a } .fail { color: #a11 } .inconclusive { color: #8a5a00 } code { overflow-wrap: anywhere }
"""
POLICY = f'<meta http-equiv="Content-Security-Policy" content="{escape(allow_style_only(STYLE))}">'


def render_page(report: dict[str, Any]) -> str:
    title = f"Version {report['candidate_version']} against {report['champion_version']}: {report['verdict']}"
    votes = report["votes"]
    facts = [
        (name, report[name] or "")
        for name in ("evaluation_id", "request_id", "run_id", "dataset_sha256", "weights_sha256", "completed_at")
    ]
    if report.get("refused_share") is not None:
        facts.append(("refused_share", f"{report['refused_share']:.1%}"))
    facts += [(f"refused: {reason}", f"{count} rows") for reason, count in (report.get("refused_rows") or {}).items()]
    gates = [_gate(gate) for gate in report["gates"]]
    prompts = [_prompt(prompt) for prompt in report["prompts"]]
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8">{POLICY}',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head>",
            f"<body><h1>{escape(title)}</h1>",
            _table([], [[_cell(name), _cell(value)] for name, value in facts]),
            "<h2>Gates</h2>",
            _table(["gate", "verdict", "summary", "effect", "95% interval", "n", "smallest visible effect"], gates),
            "<h2>Votes</h2>",
            f"<p>{votes['cast']} of {votes['asked']} cast: left {votes['left']}, right {votes['right']}, "
            f"ties {votes['tie']}.</p>",
            "<h2>Prompts</h2>",
            _table(["prompt", "candidate", "champion", "candidate's score"], prompts),
            "</body></html>",
        ]
    )


def _gate(gate: dict[str, Any]) -> list[str]:
    return [
        _cell(gate["name"]),
        _verdict(gate["verdict"]),
        _cell(gate["summary"]),
        _cell(_number(gate.get("effect"))),
        _cell(f"{_number(gate.get('low'))} to {_number(gate.get('high'))}"),
        _cell(_number(gate.get("n"))),
        _cell(_number(gate.get("minimum_detectable_effect"))),
    ]


def _prompt(prompt: dict[str, Any]) -> list[str]:
    answers = [_text(prompt["candidate"]), _text(prompt["champion"])]
    return [_text(_question(prompt["messages"])), *answers, _cell(_number(prompt["candidate_score"]))]


def _question(messages: list[dict[str, Any]]) -> str:
    return "\n".join(f"{message.get('role', '')}: {derive_text(message)}" for message in messages)


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    header = f"<tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>" if head else ""
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f"<table>{header}{body}</table>"


def _cell(value: object) -> str:
    return f"<td>{escape(str(value))}</td>"


def _text(value: str) -> str:
    return f'<td class="text">{escape(value)}</td>'


def _verdict(verdict: str) -> str:
    return f'<td class="{escape(verdict)}">{escape(verdict)}</td>'


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
