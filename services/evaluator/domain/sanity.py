"""What no vote should have to catch: empty answers, endless repetition, a length that ran away."""

import re
from collections.abc import Callable, Sequence

from services.evaluator.domain.intervals import Z_POWER, Z, calculate_paired_interval, calculate_ratio_interval
from shared.conversation import UNSPACED
from shared.events import GateResult

WORSE_BY = 0.05
LENGTH_RATIOS = (0.1, 3.0)


def is_empty(answer: str) -> bool:
    """Tell whether an answer holds no letter and no digit."""
    return re.search(r"[^\W_]", answer) is None


def is_repetitive(answer: str) -> bool:
    """Tell whether an answer repeats itself. Any of these is enough:

    - the same one to eight characters 20 times on end
    - one word 6 times on end
    - fewer than half of 12 or more triples of words (or of characters that stand for words) are distinct
    """
    if re.search(r"(\S{1,8}?)\1{19}", answer):
        return True
    words = answer.casefold().split()
    if any(len(set(words[start : start + 6])) == 1 for start in range(len(words) - 5)):
        return True
    units = _split(answer.casefold())
    triples = list(zip(units, units[1:], units[2:], strict=False))
    return len(triples) >= 12 and len(set(triples)) < len(triples) / 2


def count_words(answer: str) -> int:
    """Count words, and single characters of scripts whose words no spaces divide."""
    return len(_split(answer))


def _split(answer: str) -> list[str]:
    return re.findall(rf"[{UNSPACED}]|[^\s{UNSPACED}]+", answer)


def assess_empty(candidate: Sequence[str], champion: Sequence[str]) -> GateResult:
    return _assess_trait("empty_answers", "empty", is_empty, candidate, champion)


def assess_repetition(candidate: Sequence[str], champion: Sequence[str]) -> GateResult:
    return _assess_trait("repetition", "repetitive", is_repetitive, candidate, champion)


def _assess_trait(
    name: str, adjective: str, has_trait: Callable[[str], bool], candidate: Sequence[str], champion: Sequence[str]
) -> GateResult:
    """Compare answers to the same prompts, in the same order.

    Fail when the candidate shows the trait clearly more than 5 points more often than the champion. Pass when it was
    seen at most 5 points more often: a guard against collapse, not a proof of equality, whose interval says how much
    it may have missed. Inconclusive between.
    """
    n = len(candidate)
    if not n:
        return GateResult(name=name, verdict="inconclusive", summary="there are no answers", n=0)
    ours, theirs = [has_trait(answer) for answer in candidate], [has_trait(answer) for answer in champion]
    worse = sum(mine and not other for mine, other in zip(ours, theirs, strict=True))
    better = sum(other and not mine for mine, other in zip(ours, theirs, strict=True))
    low, high = calculate_paired_interval(worse, better, n)
    passed = worse - better <= WORSE_BY * n
    return GateResult(
        name=name,
        verdict="pass" if passed else "fail" if low > WORSE_BY else "inconclusive",
        summary=(
            f"{sum(ours)} of the candidate's and {sum(theirs)} of the champion's {n} answers are {adjective}; "
            f"blocked when clearly more than {WORSE_BY:.0%} beyond the champion"
        ),
        effect=(worse - better) / n,
        low=low,
        high=high,
        n=n,
        minimum_detectable_effect=min(1.0, WORSE_BY + (Z + Z_POWER) * (high - low) / (2 * Z)),
    )


def assess_length(candidate: Sequence[str], champion: Sequence[str]) -> GateResult:
    """Compare answers to the same prompts, in the same order; the effect is the ratio of mean words.

    A wide corridor, from a tenth to three times the champion's length: people's taste moves lengths, and this only
    stops a collapse or a flood. Fail outside it, inconclusive when the interval crosses its edge.
    """
    ours = [float(count_words(answer)) for answer in candidate]
    theirs = [float(count_words(answer)) for answer in champion]
    if not sum(theirs):
        return GateResult(
            name="length", verdict="inconclusive", summary="the champion said nothing to compare with", n=len(ours)
        )
    ratio = sum(ours) / sum(theirs)
    low, high = calculate_ratio_interval(ours, theirs)
    floor, ceiling = LENGTH_RATIOS
    outside, inside = high < floor or low > ceiling, floor <= low and high <= ceiling
    return GateResult(
        name="length",
        verdict="fail" if outside else "pass" if inside else "inconclusive",
        summary=(
            f"{sum(ours) / len(ours):.1f} words an answer against the champion's {sum(theirs) / len(theirs):.1f}; "
            f"allowed are {floor:g} to {ceiling:g} times as many"
        ),
        effect=ratio,
        low=low,
        high=high,
        n=len(ours),
        minimum_detectable_effect=(Z + Z_POWER) * (high - low) / (2 * Z),
    )
