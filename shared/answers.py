"""What an answer is, for whoever measures one: how long, empty, a refusal, and what of it a user reads."""

import re
import unicodedata

from shared.conversation import UNSPACED

REASONING = (("<think>", "</think>"), ("<thinking>", "</thinking>"), ("<reasoning>", "</reasoning>"))
REFUSAL_CHARACTERS = 200
"""A refusal stands at an answer's beginning; a later "I cannot" is about something else."""
REFUSALS = (
    "i can't help", "i cannot help", "i can't assist", "i cannot assist", "i'm unable to", "i am unable to",
    "i'm not able to", "i am not able to", "i can't provide", "i cannot provide", "i won't", "i will not help",
    "i can't do that", "i cannot do that", "i can't answer", "i cannot answer", "i'm sorry, but i can", "as an ai",
    "no puedo ayudar", "lo siento, pero no puedo", "je ne peux pas", "désolé, mais je", "ich kann dir dabei nicht",
    "ich kann ihnen dabei nicht", "ich kann das nicht", "não posso ajudar", "não posso fornecer", "non posso aiutar",
    "我不能", "我无法", "无法提供", "抱歉,我不", "对不起,我不", "很抱歉,我", "申し訳ありませんが", "お手伝いできません",
    "도와드릴 수 없", "я не могу помочь", "извините, но я не", "لا أستطيع مساعدتك", "मैं मदद नहीं कर",
)  # fmt: skip


def strip_reasoning(answer: str) -> str:
    """Return what a user reads: the answer without the thoughts before it; thoughts without an end leave nothing."""
    for opening, closing in REASONING:
        parts, at = list[str](), 0
        while (start := answer.find(opening, at)) >= 0:
            end = answer.find(closing, start)
            parts.append(answer[at:start])
            at = end + len(closing) if end >= 0 else len(answer)
        answer = "".join([*parts, answer[at:]])
        if (end := answer.rfind(closing)) >= 0:  # the template opened it in the prompt
            answer = answer[end + len(closing) :]
    return answer.strip()


def count_words(answer: str) -> int:
    """Count words, and single characters of scripts whose words no spaces divide."""
    return len(split_words(answer))


def split_words(answer: str) -> list[str]:
    """Split as `count_words` counts."""
    return re.findall(rf"[{UNSPACED}]|[^\s{UNSPACED}]+", answer)


def is_empty(answer: str) -> bool:
    """Tell whether an answer holds no letter and no digit."""
    return re.search(r"[^\W_]", answer) is None


def is_refusal(answer: str) -> bool:
    """Tell whether an answer begins with declining to answer, in one of eleven languages."""
    start = unicodedata.normalize("NFKC", answer[:REFUSAL_CHARACTERS]).casefold().replace("’", "'")
    return any(phrase in start for phrase in REFUSALS)
