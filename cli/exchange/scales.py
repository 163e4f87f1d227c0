"""What scores mean as feedback. A number whose scale nobody stated means nothing: it is refused, with what to say."""

from collections.abc import Mapping

from cli.exchange.found import Refused, Scale
from shared.events import AnyFeedback, Comment, Complaint, Edit, Rating, Thumb

LONGEST_TEXT = 20_000
"""As `shared.events.Text` allows."""
UP = frozenset({"up", "thumbs_up", "thumbsup", "thumbs-up", "thumbs up", "good", "like", "liked", "positive", "yes",
                "true", "correct", "helpful", "👍", "desirable", "accept", "accepted"})  # fmt: skip
DOWN = frozenset({"down", "thumbs_down", "thumbsdown", "thumbs-down", "thumbs down", "bad", "dislike", "disliked",
                  "negative", "no", "false", "incorrect", "unhelpful", "not_helpful", "not helpful", "👎",
                  "undesirable", "reject", "rejected"})  # fmt: skip
LABELS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
COMPLAINTS = {"harmful": "harmful", "unsafe": "harmful", "toxic": "harmful", "wrong": "wrong", "untrue": "wrong",
              "hallucination": "wrong", "off_topic": "off_topic", "off-topic": "off_topic", "irrelevant": "off_topic",
              "complaint": "other"}  # fmt: skip


def derive_feedback(name: str, value: object, scales: Mapping[str, Scale], known: Scale | None = None) -> AnyFeedback:
    """Derive what a value called `name` says: of a boolean or a word a thumb (or complaint), of a number with a scale.

    The operator's scale goes before the source's (`known`).

    Raises: Refused: nobody said what it means, or it lies outside its scale or in its middle.
    """
    if value is None:
        raise Refused("no_value", f"{name} holds no value", name)
    if isinstance(value, bool):
        return Thumb(value="up" if value else "down")
    if isinstance(value, str) and (word := _read_word(value)) is not None:
        return word
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise Refused("unknown_value", f"{name} says {str(value)[:40]!r}, which is no vote", name) from None
    scale = scales.get(name) or known
    if scale is None:
        raise Refused("unknown_scale", f"{name} is {number:g} on a scale that the source does not state: "
                                       f"say --scale {name}=LOW:HIGH", name)  # fmt: skip
    return _place(name, number, scale)


def derive_label(name: str, value: object) -> Thumb | None:
    """Derive what a training label says: true and 1 praise, false and 0 blame, None says nothing.

    Raises: Refused: it is something else.
    """
    if value is None or value == "":
        return None
    said = LABELS.get(str(value).casefold()) if isinstance(value, bool | int | float | str) else None
    if said is None:
        raise Refused("unknown_value", f"{name} is {str(value)[:40]!r}, which is neither true nor false", name)
    return Thumb(value="up" if said else "down")


def _read_word(value: str) -> AnyFeedback | None:
    word = value.strip().casefold()
    if word in UP or word in DOWN:
        return Thumb(value="up" if word in UP else "down")
    if word in COMPLAINTS:
        return Complaint(category=COMPLAINTS[word])  # type: ignore[arg-type]
    return None


def _place(name: str, number: float, scale: Scale) -> AnyFeedback:
    """A scale of two ends around zero or from 0 to 1 is a thumb; any other is spread over the five stars."""
    if not scale.low <= number <= scale.high:
        raise Refused("outside_scale", f"{name} is {number:g}, outside {scale.low:g} to {scale.high:g}", name)
    share = (number - scale.low) / (scale.high - scale.low)
    if (scale.low, scale.high) in ((0, 1), (-1, 1)):
        if share == 0.5:
            raise Refused("neutral", f"{name} is neither up nor down", name)
        return Thumb(value="up" if share > 0.5 else "down")
    return Rating(value=1 + int(share * 4 + 0.5))


def derive_comment(text: object) -> Comment | None:
    """Derive a comment; None of what is no text, or an empty one.

    Raises: Refused: it is too long.
    """
    if not isinstance(text, str) or not text.strip():
        return None
    return Comment(text=check_length(text, "comment"))


def derive_edit(text: str) -> Edit:
    """Derive an edit. Raises: Refused: it is empty or too long."""
    if not text.strip():
        raise Refused("empty_edit", "a correction without text")
    return Edit(text=check_length(text, "correction"))


def check_length(text: str, what: str) -> str:
    """Return a text that is not too long for feedback. Raises: Refused: it is."""
    if len(text) > LONGEST_TEXT:
        raise Refused("too_long", f"a {what} of {len(text):,} characters; {LONGEST_TEXT:,} are allowed")
    return text
