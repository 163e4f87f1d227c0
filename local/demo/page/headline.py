"""The first screen: one sentence on what happened, the numbers that matter, and where something simpler does better."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Report = dict[str, Any]


@dataclass(frozen=True)
class Tile:
    number: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Remark:
    """`is_against` marks what speaks against the loop: a baseline with the larger approval rate."""

    summary: str
    is_against: bool = False


@dataclass(frozen=True)
class Headline:
    sentence: str
    tiles: list[Tile]
    remarks: list[Remark]


def derive_headline(report: Report) -> Headline:
    tell = _HEADLINES.get(report.get("scenario", "turn"), _tell_turn)
    return tell(report)


def compare_baselines(report: Report) -> list[Remark]:
    """Return one sentence for each baseline; intervals that overlap leave it open, so the sentence says so."""
    approval = report.get("approval_rate")
    if not approval:
        return []
    return [_compare(each["summary"], each["approval"], approval["after"]) for each in report.get("baselines") or []]


def _compare(summary: str, baseline: dict[str, Any], after: dict[str, Any]) -> Remark:
    rates = f"{baseline['value']:.0%} against {after['value']:.0%}"
    if baseline["value"] == after["value"]:
        return Remark(f"Baseline: {summary}. It is level with the new champion: {rates}.")
    ahead = baseline["value"] > after["value"]
    winner, loser = (baseline, after) if ahead else (after, baseline)
    apart = winner.get("low", 0.0) > loser.get("high", 1.0)
    certainty = "and the intervals do not overlap" if apart else "but the intervals overlap"
    verb = "does better" if ahead else "does worse"
    return Remark(f"Baseline: {summary}. It {verb} than the new champion: {rates}, {certainty}.", is_against=ahead)


def _tell_turn(report: Report) -> Headline:
    events, answers = report.get("events_accepted", 0), report.get("answers_served", 0)
    sentence = f"{events:,} clicks on {answers:,} answers retrained the model"
    tiles = []
    if approval := report.get("approval_rate"):
        before, after = approval["before"], approval["after"]
        direction = "rose" if after["value"] > before["value"] else "went"
        sentence += (
            f", and approval of its answers to prompts that nobody had seen {direction}"
            f" from {before['value']:.0%} to {after['value']:.0%}"
        )
        note = f"of {after['n']} unseen prompts"
        note += f"; the rise is at least {approval['rise_low']:.0%} (95%)" if "rise_low" in approval else ""
        tiles.append(Tile(f"{before['value']:.0%} → {after['value']:.0%}", "approved answers", note))
    tiles += _tell_win_rate(report)
    baselines = report.get("baselines") or []
    if baselines:
        best = max(baselines, key=lambda each: float(each["approval"]["value"]))
        tiles.append(Tile(f"{best['approval']['value']:.0%}", "best baseline's approved answers", best["summary"]))
    tiles += _tell_delay(report)
    return Headline(f"{sentence}.", tiles, compare_baselines(report))


def _tell_win_rate(report: Report) -> list[Tile]:
    if not (rate := report.get("held_out_win_rate")):
        return []
    note = f"{rate['low']:.0%} to {rate['high']:.0%} (95%), {rate['n']} votes on {rate['prompts']} prompts"
    return [Tile(f"{rate['value']:.0%}", "of blind comparisons won by the candidate", note)]


def _tell_delay(report: Report) -> list[Tile]:
    """From the first chat to the end of the canary."""
    ends = {stage["name"]: stage for stage in report.get("timeline") or []}
    if "listen" not in ends or "canary" not in ends or ends["canary"]["end"] is None:
        return []
    minutes = (ends["canary"]["end"] - ends["listen"]["start"]) / 60
    return [Tile(f"{minutes:.1f} min", "from the first chat to the new champion", f"model: {report.get('model', '')}")]


def _tell_placebo(report: Report) -> Headline:
    promoted = report.get("promoted", report.get("champion_before") != report.get("champion_after"))
    events = report.get("events_accepted", 0)
    outcome = "and yet promoted a candidate" if promoted else "and promoted nothing"
    pairs = report.get("pairs", {}).get("active", 0)
    tiles = [
        Tile("1" if promoted else "0", "candidates promoted", "there was nothing to learn"),
        *_tell_win_rate(report),
        Tile(f"{events:,}", "clicks at random", f"on {report.get('answers_served', 0):,} answers"),
        Tile(f"{pairs:,}", "preference pairs", "that mean nothing: the gates have to notice"),
    ]
    return Headline(
        f"Users clicked at random; the loop trained on it {outcome}.", tiles, _remark(report.get("summary"))
    )


def _tell_harm(report: Report) -> Headline:
    harm = report.get("harm") or {}
    if not harm:
        return _tell_turn(report)
    served, bad = harm["canary_answers"], harm["bad_answers"]
    votes = harm.get("votes") or {}
    tiles = [
        Tile(f"{bad:,}", "bad answers served", f"of {served:,} that the worse candidate gave"),
        Tile(f"{harm['seconds']:.0f} s", "from the start of the canary to its rollback"),
    ]
    if isinstance(votes, dict) and {"champion", "canary"} <= votes.keys():
        told = {arm: f"{counts['ups']} of {counts['votes']}" for arm, counts in votes.items()}
        total = sum(counts["votes"] for counts in votes.values())
        tiles.append(Tile(f"{total:,}", "votes weighed", "one a user"))
        tiles.append(Tile(told["canary"], "thumbs up for the candidate", f"the champion had {told['champion']}"))
    sentence = (
        f"A worse candidate was approved by mistake; its canary rolled it back after {served:,} answers,"
        f" {bad:,} of them bad."
    )
    return Headline(sentence, tiles, _remark(harm.get("summary")))


def _tell_falling(report: Report) -> Headline:
    falling = report.get("falling") or {}
    if not falling:
        return _tell_turn(report)
    votes, seconds = falling["votes_after_change"], falling["seconds"]
    pairs, threshold = falling["pairs_then"], falling["volume_threshold"]
    tiles = [
        Tile(f"{votes:,.0f}", "votes after the change", "until retraining was asked for"),
        Tile(f"{seconds:.0f} s", "after the change", "at the demo's traffic"),
        Tile(f"{pairs:,.0f} of {threshold:,.0f}", "pairs that volume waits for", "it would have asked much later"),
    ]
    if "votes_to_alarm" in falling:
        tiles.insert(0, Tile(f"{falling['votes_to_alarm']:,.0f}", "votes until the fall was noticed"))
    sentence = (
        "The users' taste changed while the champion served; the monitor saw approval fall and asked for retraining"
        f" {votes:,.0f} votes later, long before volume would have."
    )
    return Headline(sentence, tiles, _remark(falling.get("reason")))


def _tell_rounds(report: Report) -> Headline:
    rounds = report.get("rounds") or []
    if not rounds:
        return _tell_turn(report)
    first, last = rounds[0], rounds[-1]
    promoted = sum(bool(each["promoted"]) for each in rounds)
    before = report.get("approval_rate", {}).get("before", first["approval"])["value"]
    after = last["approval"]["value"]
    tiles = [
        Tile(f"{before:.0%} → {after:.0%}", "approved answers", "before the first round, after the last"),
        Tile(f"{first['length_words']:.0f} → {last['length_words']:.0f}", "words an answer", "first and last round"),
        Tile(f"{first['distinct_2']:.2f} → {last['distinct_2']:.2f}", "distinct-2", "variety of wording"),
        Tile(f"{last['kl_to_anchor']:.2f}", "nats a token from the first model", "KL after the last round"),
    ]
    sentence = (
        f"The loop turned {len(rounds)} times and promoted {promoted}: approval of answers to unseen prompts went"
        f" from {before:.0%} to {after:.0%}."
    )
    return Headline(sentence, tiles, [])


def _remark(summary: str | None) -> list[Remark]:
    return [Remark(summary)] if summary else []


_HEADLINES: dict[str, Callable[[Report], Headline]] = {
    "turn": _tell_turn,
    "placebo": _tell_placebo,
    "harm": _tell_harm,
    "falling": _tell_falling,
    "rounds": _tell_rounds,
}
