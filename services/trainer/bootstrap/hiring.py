"""`heliotrope recipe hire`: the composition root of the question which machines a large model needs."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from services.trainer.adapters.artifacts.model_size import read_shape
from services.trainer.domain.planning.hiring import PaperMethod, Task, Tuning, describe, hire
from services.trainer.domain.planning.machines import MACHINES
from services.trainer.domain.planning.models import SHAPES
from shared.errors import FieldError, InvalidRequest


def plan_hire(
    model: str,
    *,
    method: str,
    tuning: str,
    machine: str,
    hourly: float | None,
    rows: int,
    length: int,
    passes: float,
    offload: str,
) -> tuple[list[str], bool]:
    """Say what the run needs, and whether any number of these machines holds it and this trainer can run it there.

    Raises:
        InvalidRequest: a word that is not known, or no such model.
    """
    for name, value, known in (
        ("method", method, get_args(PaperMethod)),
        ("tuning", tuning, get_args(Tuning)),
        ("offload", offload, ("none", "optimizer", "all")),
        ("machine", machine, tuple(MACHINES)),
    ):
        if value not in known:
            message = f"{value!r} is none of {', '.join(known)}"
            raise InvalidRequest(f"{name}: {message}", errors=[FieldError(name, message)])
    shape = SHAPES.get(model) or read_shape(Path(model))
    kind = MACHINES[machine] if hourly is None else replace(MACHINES[machine], hourly=hourly)
    words: dict[str, Any] = {"method": method, "tuning": tuning, "offload": offload}
    task = Task(rows=rows, length=length, passes=passes, **words)
    found = hire(shape, task, kind)
    first = f"{shape.weights / 1e9:.1f} billion weights, {shape.active_weights / 1e9:.1f} of them at work for a token"
    return [first, *describe(found, task)], found.fits and found.obstacle is None
