"""The result of a detector: the same shape for all of them, to store, to export and to show."""

from dataclasses import dataclass, field

from services.curator.monitor.domain.opinion import Opinion
from services.curator.monitor.domain.policy import Decision
from services.curator.monitor.domain.volume import Volume, assess_volume
from shared.events import Reason

Figure = float | int | str | None


@dataclass(frozen=True)
class DetectorResult:
    """`reason` is set when the detector wants a retraining; `value` at `threshold` or above is when it does."""

    name: str
    summary: str
    value: float | None = None
    threshold: float | None = None
    reason: Reason | None = None
    figures: dict[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True)
class MonitorReport:
    """One look at everything."""

    results: tuple[DetectorResult, ...]
    decision: Decision


@dataclass(frozen=True)
class LoopHealth:
    """Figures of the last window; times in seconds, None when there is nothing to measure."""

    answers: int
    feedback: dict[str, int]
    """By type."""
    parked: int
    oldest_parked_seconds: float | None
    silence_seconds: float | None
    """Since the last feedback of any type."""


def describe_opinion(opinion: Opinion, threshold: float, response_rate: float | None) -> DetectorResult:
    reason = None
    if opinion.state == "alarm":
        summary = f"opinion of the champion fell: {opinion.summary}"
        reason = Reason(kind="opinion", summary=summary, value=opinion.value, threshold=threshold)
    baseline = opinion.baseline
    figures: dict[str, Figure] = {
        "state": opinion.state,
        "unmeasurable": int(opinion.state == "unmeasurable"),
        "votes": opinion.votes,
        "baseline_rate": baseline.rate if baseline else None,
        "floor": baseline.floor if baseline else None,
        "users": baseline.users if baseline else None,
        "recent_rate": opinion.recent_rate,
        "recent_votes": opinion.recent_votes,
        "response_rate": response_rate,
    }
    return DetectorResult("opinion", opinion.summary, opinion.value, threshold, reason, figures)


@dataclass(frozen=True)
class PromptReading:
    """What the last closed window said of prompts; `windows` have passed since the reign began."""

    state: str
    summary: str
    evidence: float = 0.0
    effect: float | None = None
    p_value: float | None = None
    windows: int = 0


def describe_prompts(reading: PromptReading, threshold: float) -> DetectorResult:
    reason = None
    if reading.state == "alarm":
        summary = f"what users ask has changed: {reading.summary}"
        reason = Reason(kind="prompt_drift", summary=summary, value=reading.evidence, threshold=threshold)
    figures: dict[str, Figure] = {
        "state": reading.state,
        "unmeasurable": int(reading.state == "unmeasurable"),
        "effect": reading.effect,
        "p_value": reading.p_value,
        "windows": reading.windows,
    }
    return DetectorResult("prompt_drift", reading.summary, reading.evidence, threshold, reason, figures)


def describe_volume(volume: Volume, threshold: int) -> DetectorResult:
    summary, reason = assess_volume(volume, threshold)
    figures: dict[str, Figure] = {"new_labels": volume.new_labels, "counted": int(volume.exact)}
    return DetectorResult("volume", summary, volume.new_pairs, threshold, reason, figures)


def describe_health(health: LoopHealth) -> DetectorResult:
    """Describe the loop's health; never a reason to retrain, for what is wrong is the loop, not the model."""
    total = sum(health.feedback.values())
    parts = [f"{total} pieces of feedback on {health.answers} answers", f"{health.parked} parked"]
    if health.silence_seconds is not None:
        parts.append(f"the last {health.silence_seconds:.0f} s ago")
    figures: dict[str, Figure] = {
        "answers": health.answers,
        "feedback_per_answer": total / health.answers if health.answers else None,
        "parked": health.parked,
        "oldest_parked_seconds": health.oldest_parked_seconds,
        "silence_seconds": health.silence_seconds,
        **{f"feedback_{kind}": count for kind, count in sorted(health.feedback.items())},
    }
    return DetectorResult("loop_health", ", ".join(parts), figures=figures)
