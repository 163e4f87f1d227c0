"""Figures of a step that stay on the device until they are logged.

To read one, the host waits until the device has done all that it was told, and then has to fill it anew: on a GPU that
is time lost between a step's forward and its backward pass.
"""

from typing import Any


class LateMetrics:
    """A trainer of TRL whose `_metrics` may hold tensors of one element."""

    _metrics: dict[str, dict[str, list[Any]]]
    model: Any

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        metrics = self._metrics["train" if self.model.training else "eval"]
        for name, values in metrics.items():
            metrics[name] = [float(value) for value in values]
        super().log(logs, start_time)  # type: ignore[misc]  # of the trainer beside this class
