"""The keys and values of all requests in the batch, each in a slot of its own."""

import math
import mmap
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

SHORTEST_REUSE = 8
"""Tokens; a shorter common beginning is computed anew."""


@dataclass
class View:
    """The slots, and the positions in them, of the coming forward pass: `positions` is (slots, tokens)."""

    first: int = 0
    positions: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    length: int = 0
    """Of the longest among them, the coming tokens included."""


class SlotLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers is untyped here
    """One attention layer's keys and values, (slots, heads, context, width)."""

    def __init__(self, view: View, slots: int, context: int) -> None:
        super().__init__()
        self._view, self._slots, self._context = view, slots, context

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys, self.values = self._allocate(key_states), self._allocate(value_states)
        self.is_initialized = True

    def _allocate(self, like: Tensor) -> Tensor:
        """Allocate zeros that take no memory until they are written: torch's own would write them all at once."""
        shape = (self._slots, like.shape[1], self._context, like.shape[3])
        blank = mmap.mmap(-1, math.prod(shape) * like.element_size())
        with suppress(AttributeError, OSError):  # else a token's few bytes would take 2 MiB
            blank.madvise(mmap.MADV_NOHUGEPAGE)
        return torch.frombuffer(blank, dtype=like.dtype).view(shape)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        view = self._view
        window = slice(view.first, view.first + len(view.positions))
        slots = torch.arange(window.start, window.stop)[:, None]
        self.keys[slots, :, view.positions] = key_states.transpose(1, 2)
        self.values[slots, :, view.positions] = value_states.transpose(1, 2)
        return self.keys[window, :, : view.length], self.values[window, :, : view.length]

    def copy(self, source: int, target: int, length: int) -> None:
        if self.is_initialized:
            for states in (self.keys, self.values):
                states[target, :, :length] = states[source, :, :length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._view.length, 0

    def get_seq_length(self) -> int:
        return self._view.length

    def get_max_length(self) -> int:
        return self._context


@dataclass(frozen=True)
class Held:
    """What a slot's keys and values are of: the first `length` tokens under an adapter."""

    adapter: int
    tokens: list[int]
    length: int


class Slots:
    """The slots of one base. What a request left in its slot stays until it is written over, for who begins alike."""

    def __init__(self, layers: int, count: int, context: int) -> None:
        self.count, self.context, self._view = count, context, View()
        self._layers = [SlotLayer(self._view, count, context) for _ in range(layers)]
        self.cache = Cache(layers=self._layers)
        self._held: dict[int, Held] = {}

    def aim(self, first: int, positions: list[range]) -> tuple[Tensor, Tensor]:
        """Aim the coming forward pass at these positions in `first` and the slots after it, equally many in each.

        Returns: positions (slots, tokens); and which keys each token sees, (slots, 1, tokens, keys).
        """
        placed = torch.tensor([list(each) for each in positions])
        self._view.first, self._view.positions = first, placed
        self._view.length = max(each.stop for each in positions)
        return placed, torch.arange(self._view.length) <= placed[:, None, :, None]

    def hold(self, slot: int, adapter: int, tokens: list[int], length: int) -> None:
        """Note what a slot holds now."""
        self._held[slot] = Held(adapter, tokens, length)

    def move(self, source: int, target: int) -> None:
        """Copy a slot over another."""
        held = self._held[source]
        self._copy(source, target, held.length)
        self._held[target] = held

    def reuse(self, target: int, adapter: int, tokens: list[int]) -> int:
        """Copy into a slot what any slot knows of the same beginning; return how many tokens need not be computed."""
        source, common = max(
            ((slot, self._compare(slot, adapter, tokens)) for slot in self._held),
            key=lambda each: each[1],
            default=(0, 0),
        )
        if common < SHORTEST_REUSE:
            return 0
        self._copy(source, target, common)
        self.hold(target, adapter, tokens, common)
        return common

    def _compare(self, slot: int, adapter: int, tokens: list[int]) -> int:
        """Count the tokens that both begin with; the last one must be computed in any case, for its scores."""
        held = self._held[slot]
        if held.adapter != adapter:
            return 0
        pairs = zip(held.tokens[: held.length], tokens[:-1], strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    def _copy(self, source: int, target: int, length: int) -> None:
        if source != target:
            for layer in self._layers:
                layer.copy(source, target, length)
