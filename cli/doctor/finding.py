"""What a check found."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """`remedy` is what to do; empty when all is well."""

    check: str
    verdict: Verdict
    summary: str
    remedy: str = ""


def ok(check: str, summary: str) -> Finding:
    return Finding(check, "ok", summary)


def warning(check: str, summary: str, remedy: str) -> Finding:
    return Finding(check, "warning", summary, remedy)


def problem(check: str, summary: str, remedy: str) -> Finding:
    return Finding(check, "problem", summary, remedy)
