"""Records that each say something of an answer: one thing or several, or nothing that can be read."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from cli.exchange.found import Found, ImportedFeedback, Preferred, Refused, Replaced
from cli.exchange.ports import Record
from shared.events import AnyFeedback


def collect_feedback(records: Iterable[Record], read: Callable[[Record], list[ImportedFeedback]]) -> Found:
    """Collect what each record says; one that is refused costs itself alone."""
    found = Found()
    for record in records:
        try:
            found.feedback.extend(read(record))
        except Refused as refused:
            found.refused.append(refused)
    return found


def number_feedback(
    key: str,
    about: str,
    says: Sequence[AnyFeedback | Preferred | Replaced | None],
    user: str | None = None,
    at: datetime | None = None,
) -> list[ImportedFeedback]:
    """Number what one record says of the answer with key `about`: None is left out, and numbers stay."""
    numbered = [(f"{key}:{place}", said) for place, said in enumerate(says)]
    return [ImportedFeedback(name, about, said, user, at) for name, said in numbered if said is not None]
