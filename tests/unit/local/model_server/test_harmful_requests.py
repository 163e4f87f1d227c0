"""Whatever one request asks for, and whatever one adapter computes, the others are answered."""

from collections.abc import Iterator

import pytest
import torch

from local.model_server.batch import End, Failure, Piece
from local.model_server.models import Models
from local.model_server.sampling import Sampling, draw
from local.model_server.worker import Worker
from tests.unit.local.model_server.serving import Asked, run_models
from tests.unit.trainer.tiny_model import save_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

TINY = 5e-324


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Worker, Models]]:
    with run_models() as (worker, models):
        models.load("base", str(save_tiny_model(tmp_path_factory.mktemp("models") / "base")))
        yield worker, models


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
@pytest.mark.parametrize("temperature", (TINY, 1e-38, 1.1e-5, 1.0, 2.0))
@pytest.mark.parametrize("penalty", (TINY, 1e-38, 1.0, 10.0))
@pytest.mark.parametrize(("top_k", "top_p"), ((0, 1.0), (0, TINY), (1, 1e-46), (10**30, 0.5)))
def test_a_token_is_drawn_whatever_the_bounds(
    dtype: torch.dtype, temperature: float, penalty: float, top_k: int, top_p: float
) -> None:
    scores = torch.randn(50, generator=torch.Generator().manual_seed(1)).mul(30).to(dtype)
    assert 0 <= draw(scores, Sampling(temperature, top_k, top_p, penalty), [1, 2, 3]) < 50


def test_a_share_below_the_likeliest_tokens_own_takes_the_likeliest() -> None:
    scores = torch.tensor([0.0, 1.0, 5.0, 2.0])
    assert {draw(scores, Sampling(1.0, top_p=TINY), []) for _ in range(20)} == {2}


class Broken(Sampling):
    """Cannot draw the third token."""

    @property
    def generator(self) -> torch.Generator:
        self.__dict__["drawn"] = self.__dict__.get("drawn", 0) + 1
        if self.__dict__["drawn"] > 2:
            raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
        return torch.default_generator

    @generator.setter
    def generator(self, _: torch.Generator) -> None:
        """Keep none."""


def test_an_answer_that_cannot_go_on_fails_alone(running: tuple[Worker, Models]) -> None:
    worker, models = running
    served = models.find("base")
    harmful = Asked(served, "Where is my order?", sampling=Broken(temperature=1.0))
    others = [Asked(served, f"Where is my order number {number}?") for number in range(3)]
    for each in (harmful, *others):
        worker.submit(served.base.batch, each.sequence)
    events = harmful.wait()
    assert isinstance(events[-1], Failure)
    assert all(isinstance(event, Piece) for event in events[:-1])
    assert all(isinstance(each.wait()[-1], End) for each in others)
    assert worker.problem is None
