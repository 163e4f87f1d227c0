"""Answers are those of transformers and PEFT, whoever else is in the batch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from local.model_server.batch import End, Failure, Piece
from local.model_server.errors import Refused
from local.model_server.models import Models
from local.model_server.sampling import Sampling
from local.model_server.worker import MOST_WAITING, Worker
from tests.unit.local.model_server.serving import Asked, generate, load_by_peft, run_models, save_adapter
from tests.unit.trainer.tiny_model import save_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

TEXTS = [f"Where is my order {'very ' * n}number {n}?" for n in range(8)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def running(base: Path) -> Iterator[tuple[Worker, Models]]:
    with run_models() as (worker, models):
        models.load("base", str(base))
        yield worker, models


def ask(running: tuple[Worker, Models], name: str, texts: list[str], **settings: object) -> list[Asked]:
    worker, models = running
    served = models.find(name)
    asked = [Asked(served, text, **settings) for text in texts]  # type: ignore[arg-type]
    for each in asked:
        worker.submit(served.base.batch, each.sequence)
    return asked


@pytest.mark.parametrize("together", [1, 8])
def test_greedy_answers_are_those_of_transformers(running: tuple[Worker, Models], base: Path, together: int):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    for start in range(0, len(TEXTS), together):
        asked = ask(running, "base", TEXTS[start : start + together])
        for each in asked:
            assert each.answer() == generate(model, each.prompt)


def test_more_requests_than_slots_are_all_answered_alike(running: tuple[Worker, Models], base: Path):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    asked = [each for n in range(30) for each in ask(running, "base", [TEXTS[n % 8]], most=1 + n % 17)]
    expected = {tuple(each.prompt): generate(model, each.prompt, 17) for each in asked[:8]}
    for each in asked:
        answer = each.answer()
        assert answer == expected[tuple(each.prompt)][: len(answer)]


def test_adapters_side_by_side_answer_as_with_peft(running: tuple[Worker, Models], base: Path, tmp_path: Path):
    _, models = running
    upper = {"target_modules": ["q_proj", "o_proj", "down_proj"], "layers_to_transform": [1]}
    settings: dict[str, dict[str, Any]] = {"a": {"lora_alpha": 8}, "b": upper | {"r": 6, "use_rslora": True}}
    folders = {name: save_adapter(base, tmp_path / name, seed, **settings[name]) for seed, name in enumerate("ab")}
    for name, folder in folders.items():
        models.load(name, str(folder / "adapter" if name == "a" else folder))
    assert len({id(each.base) for each in models.list()}) == 1, "the base is in memory once"
    asked = {name: ask(running, name, TEXTS[:3]) for name in ("a", "base", "b")}
    answers = {name: [each.answer() for each in several] for name, several in asked.items()}
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    for name, several in asked.items():
        model = plain if name == "base" else load_by_peft(base, folders[name])
        assert answers[name] == [generate(model, each.prompt) for each in several]
    assert answers["a"] != answers["base"] != answers["b"]
    models.unload("a")
    models.unload("b")
    assert [each.answer() for each in ask(running, "base", TEXTS[:3])] == answers["base"]


def test_an_adapter_that_is_more_than_plain_lora_is_merged(running: tuple[Worker, Models], base: Path, tmp_path: Path):
    _, models = running
    folder = save_adapter(base, tmp_path / "dora", 5, use_dora=True)
    models.load("dora", str(folder))
    (asked,) = ask(running, "dora", TEXTS[:1])
    assert asked.answer() == generate(load_by_peft(base, folder), asked.prompt)
    models.unload("dora")


def test_a_common_beginning_is_computed_once_and_changes_no_answer(running: tuple[Worker, Models], base: Path):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    beginning = "My order number one thousand has not come to my new address yet, and I would like to "
    for end in ("have a refund.", "send it back.", "have a refund."):
        (asked,) = ask(running, "base", [beginning + end])
        assert asked.answer() == generate(model, asked.prompt)


def test_a_long_prompt_is_read_in_pieces(running: tuple[Worker, Models], base: Path):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    long, short = ask(running, "base", ["order " * 140, "Where is it?"], most=8)
    assert len(long.prompt) > 140
    assert short.answer() == generate(model, short.prompt, 8)
    assert long.answer() == generate(model, long.prompt, 8)


def test_a_seed_repeats_an_answer_whoever_else_asks(running: tuple[Worker, Models]):
    def draw(seed: int) -> Sampling:
        return Sampling(1.0, top_k=50, top_p=0.9, generator=torch.Generator().manual_seed(seed))

    alone = ask(running, "base", TEXTS[:1], sampling=draw(3))[0].answer()
    others = ask(running, "base", TEXTS[1:6])
    again = ask(running, "base", TEXTS[:1], sampling=draw(3))[0]
    other = ask(running, "base", TEXTS[:1], sampling=draw(4))[0]
    assert again.answer() == alone != other.answer()
    for each in others:
        each.answer()


def test_who_is_cancelled_leaves_his_slot_to_the_next(running: tuple[Worker, Models]):
    first = ask(running, "base", TEXTS, most=150)
    late = ask(running, "base", TEXTS[:2], most=2)
    for each in first:
        each.sequence.is_cancelled = True
    for each in late:
        assert isinstance(each.wait()[-1], End)
    assert all(len(each.sequence.tokens) < len(each.prompt) + 150 for each in first)


def test_too_many_who_wait_are_told_to_come_back(base: Path):
    with run_models(slots=1) as (worker, models):
        models.load("base", str(base))
        asked: list[Asked] = []
        with pytest.raises(Refused) as caught:
            for _ in range(2 * MOST_WAITING):
                asked += ask((worker, models), "base", TEXTS[:1], most=150)
        assert caught.value.status == 503
        assert len(asked) >= MOST_WAITING
        worker.call(lambda: models.find("base").base.batch.fail("enough"))


def test_answers_grow_side_by_side(running: tuple[Worker, Models]):
    asked = ask(running, "base", TEXTS, most=100)
    asked[0].answer()
    written = [len(each.sequence.tokens) - len(each.prompt) for each in asked]
    assert min(written) >= 80, "none waits for another's end"
    for each in asked[1:]:
        each.answer()


def test_log_probabilities_are_those_of_transformers(running: tuple[Worker, Models], base: Path):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    (asked,) = ask(running, "base", TEXTS[:1], likeliest=2)
    pieces = [event for event in asked.wait() if isinstance(event, Piece)]
    with torch.inference_mode():
        logits = model(torch.tensor([asked.sequence.tokens])).logits[0, len(asked.prompt) - 1 : -1]
    expected = logits.log_softmax(-1).max(-1)
    for piece, token, logprob in zip(pieces, expected.indices.tolist(), expected.values.tolist(), strict=True):
        assert piece.likelihood is not None
        assert piece.likelihood.token == token == piece.likelihood.likeliest[0][0]
        assert piece.likelihood.logprob == pytest.approx(logprob, abs=1e-4)
        assert len(piece.likelihood.likeliest) == 2


def test_a_prompt_that_cannot_be_read_harms_nobody_else(running: tuple[Worker, Models]):
    (good,) = ask(running, "base", TEXTS[:1], most=60)
    _, models = running
    bad = Asked(models.find("base"), "x")
    bad.sequence.tokens[3] = 10**6
    running[0].submit(models.find("base").base.batch, bad.sequence)
    assert isinstance(bad.wait()[-1], Failure)
    assert isinstance(good.wait()[-1], End)
    assert running[0].problem is None


class Unreadable(list[int]):
    def __getitem__(self, key: Any) -> Any:
        raise ValueError("no tokens can be read")


def test_a_worker_whose_step_fails_tells_everybody_and_is_dead(base: Path):
    with run_models() as (worker, models):
        models.load("base", str(base))
        (asked,) = ask((worker, models), "base", TEXTS[:1], most=150, likeliest=1)
        asked.wait_for_piece()
        asked.sequence.tokens = Unreadable(asked.sequence.tokens)  # which the next step for everybody meets
        assert isinstance(asked.wait()[-1], Failure)
        worker.wait(10)
        assert worker.problem == "the worker is dead"


def test_what_an_unloaded_adapter_owes_fails(running: tuple[Worker, Models], base: Path, tmp_path: Path):
    _, models = running
    models.load("c", str(save_adapter(base, tmp_path / "c", 9)))
    asked, other = ask(running, "c", TEXTS[:3], most=150), ask(running, "base", TEXTS[:1], most=150)[0]
    asked[-1].wait_for_piece()
    models.unload("c")
    assert {type(each.wait()[-1]) for each in asked} <= {Failure, End}
    assert isinstance(other.wait()[-1], End)
