"""Paraphrases by hand: groups of four that ask the same, in one language; read as tuning or reporting half."""

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

from bench.paraphrases.background import make_prompts

TEXTS = Path(__file__).parent / "texts"
LANGUAGES = ("en", "zh", "es", "code")
Half = Literal["tuning", "reporting", "both"]


@dataclass(frozen=True)
class Asked:
    """A prompt; those of one `group` ask the same, those without one ask what nobody else asks."""

    text: str
    language: str
    group: str | None


def read_groups(language: str, half: Half) -> list[list[str]]:
    """Read the groups of a language: every other one is for tuning, the rest to report."""
    blocks = (TEXTS / f"{language}.txt").read_text("utf-8").strip().split("\n\n")
    groups = [[line.replace("\\n", "\n") for line in block.split("\n")] for block in blocks]
    return groups if half == "both" else groups[half == "reporting" :: 2]


def list_asked(half: Half) -> list[Asked]:
    """List the paraphrases of a half, and all the prompts around them."""
    paraphrases = [
        Asked(text, language, f"{language} {number}")
        for language in LANGUAGES
        for number, group in enumerate(read_groups(language, half))
        for text in group
    ]
    around = [Asked(text, language, None) for language in LANGUAGES for text in make_prompts(language, Random(1))]
    return paraphrases + around
