"""Users as keyed hashes, under a chain of secrets: a later secret hashes what the earlier ones gave.

Generation 0 is the HMAC of the user under the first secret (`shared.ids`), generation n that of generation n-1 under
the n-th later secret. So whoever holds the later secrets carries a stored hash onwards without knowing whose it is, and
who holds the first one alone, because it leaked, finds nobody in what was carried onwards. From generation 1 on a hash
says which it is of: `1.<32 hex digits>`. Content hashes, which follow from users' hashes, are carried likewise.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec

from shared.errors import InvalidRequest, Unavailable
from shared.events import FeedbackReceived, InteractionRecorded
from shared.feedback import calculate_content_hash
from shared.ids import calculate_user_hash

HASH_PATTERN = re.compile(r"(?:([1-9][0-9]{0,3})\.)?([0-9a-f]{32}|[0-9a-f]{64})")

AnyEvent = TypeVar("AnyEvent", bound=InteractionRecorded | FeedbackReceived)


class SecretsDiffer(Unavailable, ConnectionError):
    """The secrets of this process are not those that the database is hashed with: nothing may be stored meanwhile."""

    title = "User-hash secrets differ"


@dataclass(frozen=True)
class UserHashes:
    """Hashes users at one generation. `first` is empty where nobody is hashed, and hashes are only carried onwards.

    `start` is above 0 after a secret was lost: hashes of before it lead no further.
    """

    first: str
    later: tuple[str, ...] = ()
    generation: int = 0
    start: int = 0

    def hash_user(self, user: str | None, conversation_id: str | None) -> str | None:
        """Return what stands for the user, else for the conversation; None for an anonymous caller."""
        return self.carry(self.draw(user, conversation_id))

    def draw(self, user: str | None, conversation_id: str | None) -> str | None:
        """Return what stands for them at the start of the chain: the same in each generation, and never stored."""
        found = calculate_user_hash(user, conversation_id, (self.first, *self.later)[self.start])
        return _mark(found, self.start) if found else None

    def carry(self, text: str | None) -> str | None:
        """Carry a hash onwards to this generation; what is no hash, or of before a secret was lost, stays as it is.

        Raises:
            SecretsDiffer: it is of a later generation than the database.
            InvalidRequest: it is of a generation that nobody told this process of.
        """
        match = HASH_PATTERN.fullmatch(text or "")
        if text is None or match is None or (known := int(match[1] or 0)) < self.start:
            return text
        if known > len(self.later):
            raise InvalidRequest(f"a user hash of generation {known}, of which no secret is known here")
        if known > self.generation:
            raise SecretsDiffer(
                f"a user hash of generation {known}, and the database is at {self.generation}: if it was restored, "
                "repeat `heliotrope keys rotate user-hash`"
            )
        for generation in range(known + 1, self.generation + 1):
            text = carry_once(text, self.later[generation - 1], generation)
        return text

    def carry_event(self, event: AnyEvent) -> AnyEvent:
        """Carry the hashes in an event onwards; its own content hash, if it has one, goes."""
        if not self.generation:
            return event
        changes: dict[str, str | None] = {"user": self.carry(event.user), "content_hash": None}
        if isinstance(event, InteractionRecorded):
            changes["conversation_id"] = self.carry(event.conversation_id)
        return msgspec.structs.replace(event, **changes)

    def publish(self, event: AnyEvent) -> AnyEvent:
        """Carry an event whose hashes were drawn onwards, with what makes a retry known under any later secret."""
        if self.generation == self.start:
            return event
        content_hash = self.carry(_calculate_marked_hash(event))
        return msgspec.structs.replace(self.carry_event(event), content_hash=content_hash)

    def hash_content(self, event: InteractionRecorded | FeedbackReceived) -> str:
        """Return the content hash of an event as it was published, carried onwards."""
        said = event.content_hash or _calculate_marked_hash(event)
        return self.carry(said) or said

    def list_carried(self, content_hash: str) -> tuple[str, ...]:
        """List what a drawn event's content hash is in each generation up to this one."""
        marked = _mark(content_hash, self.start)
        generations = range(self.start, self.generation + 1) if self.generation else ()
        return tuple(replace(self, generation=number).carry(marked) or marked for number in generations)


def _calculate_marked_hash(event: InteractionRecorded | FeedbackReceived) -> str:
    match = HASH_PATTERN.fullmatch(event.user or "")
    return _mark(calculate_content_hash(event), int(match[1] or 0) if match else 0)


def _mark(text: str, generation: int) -> str:
    return f"{generation}.{text}" if generation else text


def carry_once(text: str, secret: str, generation: int) -> str:
    """Carry a hash from the generation before to this one; it keeps its length."""
    digits = len(text.rpartition(".")[2])
    return f"{generation}.{hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()[:digits]}"


FindUserHashes = Callable[[], UserHashes]
