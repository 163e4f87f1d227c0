"""The order in which the choices of a streamed reply begin."""

import math
from typing import Generic, TypeVar

T = TypeVar("T")


class Beginnings(Generic[T]):
    """Lets no choice begin before those of lower places have begun or ended: OpenAI's own client breaks on that."""

    def __init__(self, count: int) -> None:
        self._silent = set(range(count))
        self._held: list[tuple[int, T]] = []

    def take(self, place: int, part: T) -> list[T]:
        """Hold a part of the choice at `place`; return what may go out now, in order."""
        self._held.append((place, part))
        return self._release()

    def end(self, place: int) -> list[T]:
        """Return what waited for a choice that has ended."""
        self._silent.discard(place)
        return self._release()

    def _release(self) -> list[T]:
        ready: list[T] = []
        while self._held:
            latest = min(self._silent, default=math.inf)
            moving = [one for one in self._held if one[0] <= latest]
            if not moving:
                break
            self._held = [one for one in self._held if one[0] > latest]
            self._silent -= {place for place, _ in moving}
            ready += [part for _, part in moving]
        return ready
