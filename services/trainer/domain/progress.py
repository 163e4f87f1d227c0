"""How far a run is, and when it will be done."""


def calculate_seconds_left(step: int, total: int, *, first_step: int, seconds: float) -> float | None:
    """Time for the remaining steps at the pace since `first_step`; None before the first step of this attempt."""
    done = step - first_step
    if done <= 0:
        return None
    return (total - step) * seconds / done
