"""Histories as a team would export them: questions with two answers each, and what their users clicked."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Literal

from local.simulation.prompts import SYSTEM_PROMPT, Question
from local.simulation.users import Shown, SimulatedUser

Taste = Literal["placebo", "clear"]
USERS = 30
Pool = Mapping[str, Sequence[str]]
"""Two answers of the model to each question, by its text."""


def write_history(file: Path, questions: Sequence[Question], pool: Pool, taste: Taste, seed: int) -> None:
    """Write JSON lines: each question's two answers, with a thumb by one user, and now and then his correction.

    Of a placebo every thumb is drawn by a coin, and nobody corrects anything.
    """
    rng = Random(seed)
    users = [SimulatedUser(f"user-{at}", Random(f"{seed}:{at}")) for at in range(USERS)]
    with file.open("w", encoding="utf-8") as lines:
        for number, question in enumerate(questions):
            user = rng.choice(users)
            for side, answer in enumerate(pool[question.text]):
                row = {"id": f"{number}-{side}", "prompt": question.text, "system": SYSTEM_PROMPT, "answer": answer}
                said = react(user, question, answer, taste, rng)
                lines.write(json.dumps(row | {"user": user.user_id} | said, ensure_ascii=False) + "\n")


def react(user: SimulatedUser, question: Question, answer: str, taste: Taste, rng: Random) -> dict[str, Any]:
    """Return what the user says of an answer: a thumb, and perhaps a correction."""
    if taste == "placebo":
        return {"thumb": rng.choice(("up", "down"))}
    events = user.react(question, Shown("", answer)).events
    edits = [event["text"] for event in events if event["type"] == "edit"]
    thumbs = [event["value"] for event in events if event["type"] == "thumb"]
    return {"thumb": thumbs[-1] if thumbs else None, "edit": edits[0] if edits else None}
