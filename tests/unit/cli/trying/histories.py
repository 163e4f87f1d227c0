"""Small exports, and an embedder that needs no model."""

import json
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from cli.exchange.found import Options
from cli.trying.clock import Clock
from cli.trying.evidence import Reading, read_files
from services.curator.cells.adapters.universal_sentence_encoder import DIMENSIONS
from services.curator.cells.domain.vectors import Vectors, normalize

SUBJECTS = ("toaster", "lamp", "rug", "kettle", "sofa", "radio", "printer", "mirror", "drill", "tent", "piano", "scarf")
ASKED = ("Where is the {}?", "Can I return the {} today?", "The {} is broken, help!", "How much is a {}?",
         "Is the {} blue or red?", "Who repairs my {} for me?")  # fmt: skip


THINGS = (
    "photosynthesis", "chess", "volcano", "violin", "tax", "yoga", "submarine", "croissant", "football", "glacier",
    "passport", "beekeeping", "asthma", "origami", "earthquake", "pension", "sushi", "marathon", "telescope",
    "divorce", "carpentry", "jazz", "vaccine", "desert", "shampoo", "election", "bicycle", "cheese", "opera",
    "lightning", "mortgage", "penguin", "pottery", "algebra", "tattoo", "hurricane", "whisky", "karate",
    "satellite", "wedding", "dentist", "canoe", "perfume", "dinosaur", "poker", "bread", "migraine", "lighthouse",
    "ballet", "gravity", "umbrella", "chocolate", "insomnia", "cathedral", "parachute", "pumpkin", "inflation",
    "tennis", "coral", "zebra", "sculpture", "diabetes", "harvest", "skiing", "mathematics", "vampire", "plumbing",
    "honey", "comet", "kindergarten", "concrete", "falcon", "soap", "rowing", "saffron", "tornado", "accordion",
    "robotics", "fasting", "avocado", "knitting", "mosquito", "astronomy", "denim", "sauna", "hedgehog",
    "calligraphy", "rust", "eclipse", "mustard", "monastery", "surfing", "porcelain", "thunder", "garlic",
    "typewriter", "oyster", "bamboo", "crossword",
)  # fmt: skip
"""Unlike each other, so that each is a region of prompts."""


class WordEmbedder:
    """Adds up a vector drawn for each word."""

    version = "words"

    def embed(self, texts: Sequence[str]) -> Vectors:
        return normalize(np.array([sum(map(_draw, text.casefold().split())) for text in texts], dtype=np.float32))


def _draw(word: str) -> Vectors:
    seed = int.from_bytes(sha256(word.encode()).digest()[:8], "big")
    drawn: Vectors = np.random.default_rng(seed).standard_normal(DIMENSIONS).astype(np.float32)
    return drawn


def list_rows(count: int = 72) -> list[dict[str, Any]]:
    """List pairs: two answers to a question each, of which the short one was preferred."""
    questions = [form.format(subject) for subject in SUBJECTS for form in ASKED][:count]
    return [
        {
            "prompt": question,
            "chosen": f"Open your order number {number} and choose the link there.",
            "rejected": f"There are many sides to the matter of {number}, as everybody knows and has always known.",
        }
        for number, question in enumerate(questions)
    ]


def write_rows(file: Path, rows: Iterable[dict[str, Any]]) -> Path:
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return file


def read_rows(file: Path, rows: Iterable[dict[str, Any]], source: str | None = None) -> Reading:
    return read_files([write_rows(file, rows)], source, Options(), Clock(60.0, lambda line: None))


def list_unlike(liked: str, other: str) -> list[dict[str, Any]]:
    """List a pair for each of a hundred questions that are unlike each other."""
    return [{"prompt": f"{thing}?", "chosen": liked, "rejected": other} for thing in THINGS]
