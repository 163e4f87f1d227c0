"""How busy a run kept its device: model FLOP utilisation (Chowdhery et al. 2022, appendix B), counted in two ways."""

from dataclasses import dataclass

PEAK_TFLOPS = {
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "A100": 312.0,
    "A10G": 70.0,
    "L40S": 362.0,
    "L4": 121.0,
    "RTX 4090": 165.2,
}
"""Dense bf16, in 10^12 FLOP a second, from the vendor's data sheets; the first name that the device's own contains."""


@dataclass(frozen=True)
class Network:
    """What of a model decides its arithmetic, in weights."""

    parameters: int
    """All of them, an embedding that is the head as well counted once."""
    layers: int
    """Of the matrices in the layers: what each token passes through."""
    head: int
    attention: int
    """Layers x heads x size of a head: a key that a query sees costs 4 FLOP for each, forward."""
    adapter: int = 0
    """Trained in place of all the others; 0: all are trained."""


@dataclass(frozen=True)
class Tokens:
    """Of a stretch of training, padding left out."""

    read: int
    """Each once: a prompt that two answers share counts once."""
    answers: int
    """Those that the loss looks at, which alone need the head."""
    seen: int
    """Keys that the queries see, summed over the read tokens; half of a sequence's square."""

    def __mul__(self, factor: float) -> "Tokens":
        return Tokens(*(round(count * factor) for count in (self.read, self.answers, self.seen)))

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(self.read + other.read, self.answers + other.answers, self.seen + other.seen)


def count_six_n(network: Network, tokens: Tokens) -> int:
    """Count FLOP of forward and backward as 6 a weight and token (Kaplan et al. 2020, section 2.1), an adapter's run
    too.
    """
    return 6 * network.parameters * tokens.read


def count_needed(network: Network, tokens: Tokens) -> int:
    """Count the FLOP that forward and backward cannot do without.

    - forward 2 for a layer's weight and token, 4 for a key that is seen, 2 for a weight of the head and answer token
    - backward as much again for the gradient of what goes in, and for that of the weights; frozen ones have none
    - attention has no weights, but two products with two gradients each: twice its forward
    """
    frozen = 4 if network.adapter else 6
    return (
        frozen * (network.layers * tokens.read + network.head * tokens.answers)
        + 6 * network.adapter * tokens.read
        + 3 * 4 * network.attention * tokens.seen
    )


def calculate_mfu(flop: float, seconds: float, peak_tflops: float) -> float:
    """Share of what the device could have done."""
    return flop / (seconds * peak_tflops * 1e12)


def find_peak_tflops(device: str) -> float | None:
    return next((peak for name, peak in PEAK_TFLOPS.items() if name in device), None)
