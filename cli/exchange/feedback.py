"""Records that each say something of an answer: one thing or several, or nothing that can be read."""

from collections.abc import Callable, Iterable, Sequence

from cli.exchange.found import Found, ImportedFeedback, Preferred, Refused, Replaced, Time
from cli.exchange.ports import Record
from shared.events import AnyFeedback

Said = AnyFeedback | Preferred | Replaced | None


def collect_feedback(records: Iterable[Record], read: Callable[[Record], Found]) -> Found:
    """Collect what each record says; one that is refused costs itself alone."""
    found = Found()
    for record in records:
        try:
            one = read(record)
        except Refused as refused:
            found.refused.append(refused)
        else:
            found.feedback.extend(one.feedback)
            found.refused.extend(one.refused)
            if not one.feedback and not one.refused:
                found.refused.append(Refused("no_value", "a record of feedback that says nothing"))
    return found


def collect_said(
    key: str, about: str, reads: Sequence[Callable[[], Said]], user: str | None = None, at: Time = None
) -> Found:
    """Collect what one record says of the answer with key `about`, each part by a call of its own: one that is refused
    costs itself alone.
    """
    found = Found()
    says: list[Said] = []
    for read in reads:
        try:
            says.append(read())
        except Refused as refused:
            found.refused.append(refused)
            says.append(None)
    found.feedback.extend(number_feedback(key, about, says, user, at))
    return found


def number_feedback(
    key: str,
    about: str,
    says: Sequence[Said],
    user: str | None = None,
    at: Time = None,
) -> list[ImportedFeedback]:
    """Number what one record says of the answer with key `about`: None is left out, and numbers stay."""
    numbered = [(f"{key}:{place}", said) for place, said in enumerate(says)]
    return [ImportedFeedback(name, about, said, user, at) for name, said in numbered if said is not None]
