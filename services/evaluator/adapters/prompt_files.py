"""Prompts and votes as people keep them: JSON lines."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.evaluator.domain.prompts import GatePrompt
from services.evaluator.domain.votes.ballots import Vote
from shared.conversation import calculate_prompt_hash, canonicalize, explain_unrenderable, read_tools
from shared.errors import InvalidRequest

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def read_prompts(file: Path) -> list[GatePrompt]:
    """Read prompts, each once. A line has `prompt` (a text) or `messages`, and may have `tools` and `group`.

    Prompts of one group resemble each other and count as one piece of evidence.

    Raises:
        InvalidRequest: no such file, no prompts, or a line that is none; names the line.
    """
    found: dict[str, GatePrompt] = {}
    for number, line in _read_lines(file):
        prompt = _read_prompt(line, f"{file}, line {number}")
        found.setdefault(prompt.prompt_hash, prompt)
    if not found:
        raise InvalidRequest(f"{file} holds no prompts")
    return list(found.values())


def _read_prompt(line: Mapping[str, Any], where: str) -> GatePrompt:
    given = line.get("messages") or ([{"role": "user", "content": line["prompt"]}] if line.get("prompt") else None)
    if not isinstance(given, list) or not all(isinstance(each, dict) and "role" in each for each in given):
        raise InvalidRequest(f"{where}: neither a prompt (a text) nor messages (each with a role and content)")
    messages, tools = canonicalize(given), read_tools(line.get("tools"))
    if reason := explain_unrenderable(messages):
        raise InvalidRequest(f"{where}: no chat template takes these messages ({reason})")
    prompt_hash = calculate_prompt_hash(messages, tools)
    return GatePrompt(prompt_hash, str(line.get("group") or prompt_hash), messages, LONG_AGO, tools)


def read_votes(file: Path) -> Iterator[tuple[str, str, Vote]]:
    """Read votes: the comparison, the rater, and the vote (left, right or tie).

    Raises:
        InvalidRequest: no such file, or a line that is no vote; names the line.
    """
    for number, line in _read_lines(file):
        comparison, rater, vote = (line.get(name) for name in ("comparison", "rater", "vote"))
        if vote not in ("left", "right", "tie") or not comparison or not rater:
            raise InvalidRequest(f"{file}, line {number}: a vote has a comparison, a rater, and left, right or tie")
        yield str(comparison), str(rater), vote


def _read_lines(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{file} cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"{file}, line {number}: not JSON ({error})") from error
        if not isinstance(content, dict):
            raise InvalidRequest(f"{file}, line {number}: not an object")
        yield number, content
