"""The task score: the share of answers that say what the lookup says, all of it, and nothing against it."""

import re
from collections.abc import Mapping
from typing import Any

from recipes.support_bot.wording import DAYS

MAX_WORDS = 50
STATUS_WORDS = {
    "processing": ("packed", "packing", "processing", "processed", "prepared"),
    "shipped": ("on its way", "on the way", "shipped", "in transit", "dispatched"),
    "delivered": ("delivered",),
    "delayed": ("delayed", "delay", "late", "later than"),
    "cancelled": ("cancelled", "canceled"),
}
"""Any of them says the status. An answer may not say another order's end as well: see `CONTRADICTIONS`."""
CONTRADICTIONS = {"delivered": ("delivered",), "delayed": ("delayed",), "cancelled": ("cancelled", "canceled")}
FUTURE = re.compile(r"\b(?:be|being|not been|not yet) delivered\b")
NEXT_STEP = re.compile(r"\?|\b(?:you can|i can|let me know|tell me|shall i|would you)\b")


def check_answer(task: str, facts: Mapping[str, Any], text: str, *, ended: bool) -> dict[str, bool]:
    """Return each requirement of the task, met or not. The answer passes if all are."""
    words = " ".join(text.lower().split())
    common = {"ends within 50 words": ended and 0 < len(words.split()) <= MAX_WORDS}
    return common | (_check_order(facts, words) if task == "order" else _check_recommendation(facts, words))


def _check_order(facts: Mapping[str, Any], words: str) -> dict[str, bool]:
    days = {day for day in DAYS if re.search(rf"\b{day.lower()}\b", words)}
    status, said = facts["status"], FUTURE.sub("", words)
    others = [word for name, listed in CONTRADICTIONS.items() if name != status for word in listed]
    return {
        "order number": _names(words, facts["order"]),
        "item": _names(words, facts["item"]),
        "status": any(_names(said, word) for word in STATUS_WORDS[status]),
        "no other status": not any(_names(said, word) for word in others),
        "the day and no other": days == {facts["date"]},
    }


def _check_recommendation(facts: Mapping[str, Any], words: str) -> dict[str, bool]:
    return {
        "available product": _names(words, facts["product"]),
        "its price": _names(words, facts["price"]),
        "nothing sold out": not any(_names(words, product) for product in facts["sold_out"]),
        "next step": bool(NEXT_STEP.search(words)),
    }


def _names(words: str, phrase: str) -> bool:
    return bool(re.search(rf"\b{re.escape(phrase.lower())}\b", words))
