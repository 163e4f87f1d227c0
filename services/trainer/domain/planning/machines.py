"""Machines that can be hired, as their makers describe them. Prices move: `hourly` is to be replaced by your own."""

from services.trainer.domain.planning.cluster import Machine, Precision

GB, TB = 1e9, 1e12
H100_FLOPS, A100_FLOPS = 989e12, 312e12
"""NVIDIA's figures for SXM, bf16, dense."""
H100_SHARES: dict[Precision, float] = {"bf16": 0.40, "fp8": 0.35}
A100_SHARES: dict[Precision, float] = {"bf16": 0.55, "fp8": 0.55}
"""What published runs come to."""

MACHINES = {
    machine.name: machine
    for machine in (
        Machine(
            name="p4d.24xlarge", gpus=8, gpu_bytes=40 * GB, memory_bandwidth=1.555 * TB, network=50 * GB,
            host_bytes=1152 * 2**30, hourly=14.75, bf16_flops=A100_FLOPS, efficiency=A100_SHARES,
        ),
        Machine(
            name="p4de.24xlarge", gpus=8, gpu_bytes=80 * GB, memory_bandwidth=2.039 * TB, network=50 * GB,
            host_bytes=1152 * 2**30, hourly=18.0, bf16_flops=A100_FLOPS, efficiency=A100_SHARES,
        ),
        Machine(
            name="p5.48xlarge", gpus=8, gpu_bytes=80 * GB, memory_bandwidth=3.35 * TB, network=400 * GB,
            host_bytes=2048 * 2**30, hourly=39.33, bf16_flops=H100_FLOPS, efficiency=H100_SHARES,
        ),
        Machine(
            name="p5.4xlarge", gpus=1, gpu_bytes=80 * GB, memory_bandwidth=3.35 * TB, network=12.5 * GB,
            host_bytes=256 * 2**30, hourly=4.92, bf16_flops=H100_FLOPS, efficiency=H100_SHARES,
        ),
        Machine(
            name="p5e.48xlarge", gpus=8, gpu_bytes=141 * GB, memory_bandwidth=4.8 * TB, network=400 * GB,
            host_bytes=2048 * 2**30, hourly=43.26, bf16_flops=H100_FLOPS, efficiency=H100_SHARES,
        ),
    )
}  # fmt: skip
"""By name. p5, p5e and p4d: reservation rates of EC2 Capacity Blocks at the end of 2024, in dollars; p4de: a guess;
p5.4xlarge: an eighth of p5.48xlarge's."""
