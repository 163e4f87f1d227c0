"""What a GPU did in a few steps, by kind of kernel."""

from collections import Counter
from typing import Any

KINDS = (
    ("attention", ("flash", "fmha", "attention")),
    ("matrix products", ("gemm", "nvjet", "cutlass", "cublas", "xmma", "matmul")),
    ("optimizer and clipping", ("multi_tensor", "adam", "foreach", "norm_kernel")),
    ("compiled element by element", ("triton",)),
    ("copies and casts", ("memcpy", "memset", "copy", "cast")),
    ("element by element", ("elementwise", "vectorized", "reduce", "softmax", "index", "cat", "gather", "scatter")),
)


class Profile:
    """Between `begin` and `end` all kernels are counted; costs a run a few seconds."""

    def __init__(self) -> None:
        from torch.profiler import ProfilerActivity, profile

        self._profile: Any = profile(activities=[ProfilerActivity.CUDA])

    def begin(self) -> None:
        self._profile.__enter__()

    def end(self) -> None:
        self._profile.__exit__(None, None, None)

    def sum_up(self) -> dict[str, Any]:
        """Return milliseconds of the device by kind, the kernels that took most, and the time from the first to the
        last.
        """
        kernels: Counter[str] = Counter()
        first, last = float("inf"), 0.0
        for event in self._profile.events():
            if str(event.device_type).endswith("CUDA"):
                kernels[event.name] += event.time_range.elapsed_us() / 1000
                first, last = min(first, event.time_range.start), max(last, event.time_range.end)
        kinds: Counter[str] = Counter()
        for name, milliseconds in kernels.items():
            kinds[find_kind(name)] += milliseconds
        span = (last - first) / 1000 if kernels else 0.0
        return {
            "milliseconds": {kind: round(spent, 1) for kind, spent in kinds.most_common()},
            "span_milliseconds": round(span, 1),
            "busy": round(sum(kernels.values()) / span, 3) if span else 0.0,
            "kernels": [(name[:90], round(spent, 2)) for name, spent in kernels.most_common(15)],
        }


def find_kind(kernel: str) -> str:
    name = kernel.lower()
    return next((kind for kind, words in KINDS if any(word in name for word in words)), "other")
