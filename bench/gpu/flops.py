"""How busy a run kept its devices: model FLOP utilisation (Chowdhery et al. 2022, appendix B)."""

from dataclasses import dataclass

TRAINED, READ = 6, 2
"""FLOP for each weight and token: forward and backward, and forward alone (Kaplan et al. 2020, section 2.1)."""

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
class Work:
    """Tokens of a stretch of training, padding left out, with the weights that they passed through."""

    parameters: int
    trained_tokens: int
    read_tokens: int = 0
    """That were only read or written: by a reference, or while sampling."""

    @property
    def flop(self) -> int:
        return self.parameters * (TRAINED * self.trained_tokens + READ * self.read_tokens)


def calculate_mfu(work: Work, seconds: float, *, devices: int, peak_tflops: float) -> float:
    """Share of what the devices could have done; attention's own products are not counted."""
    return work.flop / (seconds * devices * peak_tflops * 1e12)


def find_peak_tflops(device: str) -> float | None:
    return next((peak for name, peak in PEAK_TFLOPS.items() if name in device), None)
