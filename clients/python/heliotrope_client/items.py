"""What can be sent: anything with an id of its own, so that sending it again is harmless."""

from typing import Any, Protocol
from uuid import UUID


class Item(Protocol):
    """An event, or an interaction."""

    @property
    def path(self) -> str: ...

    @property
    def item_id(self) -> UUID: ...

    def content(self) -> dict[str, Any]: ...

    def body(self) -> dict[str, Any]: ...
