"""What is missing for a better answer, and what to do about it."""

from cli.trying.datasets import Curation
from cli.trying.verdicts import LEAST_AGREEMENT, Decision, Measure

ENOUGH_PAIRS = 200
"""Fewer pairs teach little, whichever way they point."""
JUDGE = "--judge http://HOST/v1#MODEL asks a model of yours, --rate asks you"


def list_missing(
    decision: Decision, measure: Measure | None, curation: Curation | None, needs: str | None
) -> list[str]:
    """List what would say more, the most useful first."""
    found = [needs] if needs else []
    if needs is None and decision.verdict == "cannot_say":
        found += _explain_no_measure(measure)
    if decision.more_units:
        found.append(f"about {decision.more_units} more regions of prompts would decide if they came out like these")
    if curation is not None:
        found += _list_thin(curation)
    if measure is not None and measure.trust is not None and measure.trust.low <= LEAST_AGREEMENT:
        found.append("a judge who shares your users' taste, or people (--rate): this one may as well toss a coin")
    return found


def _explain_no_measure(measure: Measure | None) -> list[str]:
    if measure is None:
        return [f"somebody or something that tells good answers from bad ones: {JUDGE}"]
    if measure.kind == "reward_model":
        return [f"more pairs, for a reward model that can be believed; or another measure: {JUDGE}"]
    if measure.kind == "judge" and measure.trust is None:
        return ["choices between two answers to one prompt, to hold the judge against; or --rate, which asks you"]
    return []


def _list_thin(curation: Curation) -> list[str]:
    found = []
    if curation.pairs < ENOUGH_PAIRS:
        found.append(f"more pairs: {curation.pairs} stand, and fewer than {ENOUGH_PAIRS} teach little")
    languages = [name for name in set(curation.splits.languages.values()) if name != "unknown"]
    if len(languages) == 1:
        found.append(f"other languages: all that is known is in {languages[0]!r}, and nothing here speaks for others")
    return found
