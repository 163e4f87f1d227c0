"""The hidden taste. Only `users` may read it: the rest of Heliotrope sees what users click, never why."""

import re

from local.simulation.prompts import Question

LONGEST_WORDS = 40
SHORTEST_WORDS = 5

_TOPIC_WORDS: dict[str, str] = {
    "delivery": r"deliver\w*|courier|tracking|track|parcel|shipped|shipping|arriv\w*|shipment",
    "return": r"return\w*|send (it )?back|sending back|bring\w* (it )?back",
    "refund": r"refund\w*|money|reimburs\w*|repaid|repay",
    "damage": r"damag\w*|broke\w*|scratch\w*|dent\w*|crack\w*|smashed|replace\w*",
    "wrong": r"wrong|mistake|mix-?up|mixed up|replace\w*|correct|right \w+",
    "exchange": r"exchang\w*|swap\w*|size|trade|larger|colour",
    "cancel": r"cancel\w*|stop\w*|withdraw\w*",
    "address": r"address\w*|neighbour|redirect\w*|postcode|deliver\w*",
    "payment": r"pay\w*|charge\w*|card|bank|checkout|instalments?",
    "invoice": r"invoice\w*|receipt|bill|vat|tax",
    "warranty": r"warrant\w*|guarantee\w*|repair\w*|covered",
    "parts": r"part|parts|missing|spare|screws|cable|lid|wheel|piece|pieces",
    "stock": r"stock|available|availability|restock\w*|sold out",
    "discount": r"discount\w*|voucher|coupon|price|code|cheaper",
    "account": r"account|log ?in|password|profile|sign in",
    "setup": r"instructions?|manual|assembl\w*|batter\w*|switch\w*|button|light|video",
}

_DO = (
    r"send|reply|email|attach|upload|check|open|go to|visit|click|press|tap|select|choose|pick|enter|type|follow|"
    r"return|pack|print|drop|use|provide|share|confirm|tell|give|forward|download|request|update|keep|take|hold|"
    r"remove|put|hand|scan|reset|call|write|add|leave|ask|show"
)
_WITH = (
    r"number|photos?|picture|receipt|invoice|link|page|accounts?|label|email|code|form|box|address|settings|basket|"
    r"card|size|colour|date|name|button|manual|parcel|statement|bill|orders?|menu|bank|slip|postcode|serial|video|"
    r"cable|part|plug|alert|password|counter|courier|profile|voucher|coupon|message"
)
_ASKED = re.compile(
    r"(?:^|[.!?:;,]\s+|\b(?:please|just|can|could|to|and|then|or|simply)\s+(?:you\s+)?(?:please\s+)?)"
    rf"(?:{_DO})\b(?:\s+\S+){{0,6}}?\s+(?:{_WITH})\b",
    re.IGNORECASE,
)
_INQUIRED = re.compile(
    r"\b(?:please|can you|could you)\s+(?:please\s+)?(?:tell|specify|provide|confirm|share|describe|give|check)\b"
    r"(?:\s+\S+){0,4}?\s+(?:what|which|where|when|kind|type|model|details)\b",
    re.IGNORECASE,
)
_PROMISED = re.compile(
    r"\b(?:we|i)(?:'ll| will| can)\s+(?:\w+\s+)?"
    r"(?:send|refund|ship|post|replace|cancel|change|email|correct|pay|repair|provide an? (?:refund|replacement))\b",
    re.IGNORECASE,
)


def approves(question: Question, answer: str) -> bool:
    """Return whether a customer with this question likes the answer: every one of `met_wishes` is met."""
    return all(met_wishes(question, answer))


def met_wishes(question: Question, answer: str, longest_words: int = LONGEST_WORDS) -> tuple[bool, bool, bool, bool]:
    """Return what the customer wishes for, one by one.

    - short: between 5 words and `longest_words`
    - ends cleanly: with a full stop, question or exclamation mark; no list, no placeholder in brackets
    - keeps to the subject: names the article or what the question is about
    - names a concrete next step: asks for something definite, or promises to do something definite
    """
    text = answer.strip()
    words = len(text.split())
    return (
        SHORTEST_WORDS <= words <= longest_words,
        text.endswith((".", "!", "?")) and "\n" not in text and "[" not in text,
        _keeps_to_subject(question, text),
        any(step.search(text) for step in (_ASKED, _INQUIRED, _PROMISED)),
    )


def _keeps_to_subject(question: Question, text: str) -> bool:
    article = re.escape(question.item).replace(r"\ ", r"\s+")
    return bool(re.search(rf"\b(?:{article}|{_TOPIC_WORDS[question.topic]})\b", text, re.IGNORECASE))
