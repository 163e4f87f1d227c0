"""Runs of the tests compute in fp32 on every machine: bf16, where there are units for it, is less exact."""

from dataclasses import replace

import msgspec
import pytest

from services.trainer.domain.training import Job
from services.trainer.ports import RunReporter


@pytest.fixture(autouse=True)
def plain_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have recipes that leave the precision to the machine take fp32."""

    def settle_on_fp32(job: Job, reporter: RunReporter) -> Job:
        return replace(job, recipe=msgspec.structs.replace(job.recipe, precision="fp32"))

    monkeypatch.setattr("services.trainer.bootstrap.methods.settle_precision", settle_on_fp32)
