"""What a check found."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """`remedy` is what to do; empty when all is well."""

    check: str
    verdict: Verdict
    words: str
    remedy: str = ""


def ok(check: str, words: str) -> Finding:
    return Finding(check, "ok", words)


def warning(check: str, words: str, remedy: str) -> Finding:
    return Finding(check, "warning", words, remedy)


def problem(check: str, words: str, remedy: str) -> Finding:
    return Finding(check, "problem", words, remedy)
