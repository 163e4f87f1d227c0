"""Continuous batching on one base: requests join between two steps, and leave as soon as they are done."""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from local.model_server.adapters import Adapters
from local.model_server.sampling import Likelihood, Sampling, draw, measure_likelihood
from local.model_server.slots import Slots
from local.model_server.text import Writer

logger = logging.getLogger(__name__)

PROMPT_TOKENS = 128
"""Of prompts at most so many are read in one step: longer ones must not keep those waiting who are being answered."""


@dataclass(frozen=True)
class Piece:
    """A token's worth of answer."""

    text: str
    likelihood: Likelihood | None = None


@dataclass(frozen=True)
class End:
    """The answer is complete: `stop` or `length`, and how many tokens it has."""

    reason: str
    tokens: int


@dataclass(frozen=True)
class Failure:
    """There will be no more of the answer."""

    message: str


Emit = Callable[[Piece | End | Failure], None]


@dataclass
class Sequence:
    """One request: its tokens, prompt first, and who is told of the answer."""

    tokens: list[int]
    adapter: int
    sampling: Sampling
    most_tokens: int
    ends: frozenset[int]
    writer: Writer
    emit: Emit
    likeliest: int | None = None
    """How many of the likeliest tokens are told with each; None: no log-probabilities."""
    is_cancelled: bool = False
    read: int = 0
    """Tokens of the prompt that were computed."""
    prompt_tokens: int = field(init=False)

    def __post_init__(self) -> None:
        self.prompt_tokens = len(self.tokens)

    def take(self, scores: Tensor) -> bool:
        """Draw the next token from these scores and tell of it; return whether it is the last."""
        token = draw(scores, self.sampling, self.tokens)
        likelihood = None if self.likeliest is None else measure_likelihood(scores, token, self.likeliest)
        self.tokens.append(token)
        is_end = token in self.ends
        text = "" if is_end else self.writer.add(token)
        count = len(self.tokens) - self.prompt_tokens
        is_last = is_end or self.writer.is_stopped or count >= self.most_tokens
        text += self.writer.finish() if is_last else ""
        if text or likelihood:
            self.emit(Piece(text, likelihood))
        if is_last:
            self.emit(End("stop" if is_end or self.writer.is_stopped else "length", count))
        return is_last


class Batch:
    """The requests of one base. Those that write have the first slots, the one that reads its prompt the next.

    One thread uses it, in inference mode.
    """

    def __init__(self, model: Any, adapters: Adapters, slots: Slots) -> None:
        self._model, self._adapters, self._slots = model, adapters, slots
        self._waiting: deque[Sequence] = deque()
        self._reading: Sequence | None = None
        self._writing: list[Sequence] = []

    @property
    def is_busy(self) -> bool:
        return bool(self._waiting or self._reading or self._writing)

    @property
    def waiting(self) -> int:
        """How many requests wait for a slot."""
        return len(self._waiting)

    def add(self, sequence: Sequence) -> None:
        self._waiting.append(sequence)

    def drop(self, is_over: Callable[[Sequence], bool]) -> list[Sequence]:
        """Take requests out of the batch, and return them."""
        dropped = [each for each in self._waiting if is_over(each)]
        self._waiting = deque(each for each in self._waiting if not is_over(each))
        if self._reading and is_over(self._reading):
            dropped.append(self._reading)
            self._reading = None
        for sequence in [each for each in self._writing if is_over(each)]:
            dropped.append(sequence)
            self._leave(sequence)
        return dropped

    def fail(self, message: str, is_over: Callable[[Sequence], bool] = lambda _: True) -> None:
        """Tell requests that there will be no more."""
        for sequence in self.drop(is_over):
            sequence.emit(Failure(message))

    def step(self) -> None:
        """Read a piece of the prompts that wait, and write one token of each answer."""
        self.drop(lambda each: each.is_cancelled)
        room = PROMPT_TOKENS
        while room > 0 and self._admit():
            room -= self._read(room)
        if self._writing:
            self._write()

    def _admit(self) -> Sequence | None:
        """Return the request whose prompt is read; the next that waits, if there is a slot."""
        if self._reading is None and self._waiting and len(self._writing) < self._slots.count:
            self._reading = self._waiting.popleft()
            self._reading.read = self._slots.reuse(len(self._writing), self._reading.adapter, self._reading.tokens)
        return self._reading

    def _read(self, room: int) -> int:
        """Compute up to `room` tokens of the prompt; returns how many. What is wrong with it harms no other request."""
        sequence, slot = self._reading, len(self._writing)
        assert sequence is not None
        piece = range(sequence.read, min(sequence.read + room, sequence.prompt_tokens))
        try:
            scores = self._compute(slot, [sequence], [piece])[0]
            sequence.read = piece.stop
            if sequence.read == sequence.prompt_tokens:
                self._reading = None
                self._begin(sequence, scores)
        except Exception:
            logger.exception("a prompt of %d tokens could not be read", sequence.prompt_tokens)
            self._reading = None
            self.drop(lambda each: each is sequence)
            sequence.emit(Failure("the prompt could not be read"))
        return len(piece)

    def _begin(self, sequence: Sequence, scores: Tensor) -> None:
        self._writing.append(sequence)
        if sequence.take(scores):
            self._leave(sequence)

    def _write(self) -> None:
        writing = list(self._writing)
        scores = self._compute(0, writing, [range(len(each.tokens) - 1, len(each.tokens)) for each in writing])
        for sequence in [each for each, row in zip(writing, scores, strict=True) if self._take(each, row)]:
            self._leave(sequence)

    def _take(self, sequence: Sequence, scores: Tensor) -> bool:
        """Write a request's next token; return whether it leaves. What is wrong with its scores harms no other."""
        try:
            return sequence.take(scores)
        except Exception:
            logger.exception("an answer could not go on")
            sequence.emit(Failure("the answer could not go on"))
            return True

    def _compute(self, first: int, sequences: list[Sequence], pieces: list[range]) -> Tensor:
        """Compute these tokens of requests in `first` and the slots after it; returns the scores after the last."""
        positions, mask = self._slots.aim(first, pieces)
        self._adapters.rows.choose([each.adapter for each in sequences])
        tokens = [each.tokens[piece.start : piece.stop] for each, piece in zip(sequences, pieces, strict=True)]
        output = self._model(
            input_ids=torch.tensor(tokens),
            position_ids=positions,
            attention_mask=mask,
            past_key_values=self._slots.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        for slot, (sequence, piece) in enumerate(zip(sequences, pieces, strict=True), start=first):
            self._slots.hold(slot, sequence.adapter, sequence.tokens, piece.stop)
        scores: Tensor = output.logits[:, -1]
        return scores

    def _leave(self, sequence: Sequence) -> None:
        """Give its slot to the last that writes, and its slot to the one that reads: none between them is empty."""
        slot, last = self._writing.index(sequence), len(self._writing) - 1
        if slot != last:
            self._slots.move(last, slot)
            self._writing[slot] = self._writing[last]
        self._writing.pop()
        if self._reading and self._reading.read:
            self._slots.move(last + 1, last)
