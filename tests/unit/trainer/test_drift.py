"""How far a candidate has moved: the measurement on real checkpoints, and the ceilings."""

import weakref
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.trainer.adapters.artifacts.model_card import save_signature
from services.trainer.adapters.artifacts.provenance import save_environment
from services.trainer.adapters.methods.kl_divergence import measure_kl
from services.trainer.domain.guards.kl import assess_drift
from services.trainer.domain.recipe.sections import Drift, Point
from tests.unit.trainer.tiny_model import make_pairs, save_tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drift")
    save_tiny_model(folder / "one", seed=1)
    save_tiny_model(folder / "two", seed=2)
    pq.write_table(pa.Table.from_pylist(make_pairs(6)), folder / "validation.parquet")
    return folder


def measure(folder: Path, candidate: str, *, examples: int = 16, max_length: int = 96) -> dict[Point, float]:
    points: dict[Point, Path] = {"parent": folder / "one", "anchor": folder / "two"}
    validation = folder / "validation.parquet"
    return dict(measure_kl(folder / candidate, points, validation, examples=examples, max_length=max_length))


def test_a_model_is_no_distance_from_itself_and_some_from_another(folder: Path):
    measured = measure(folder, "one")
    assert measured["parent"] == pytest.approx(0, abs=1e-6)
    assert measured["anchor"] > 1e-4


def test_the_kl_is_the_mean_over_the_answers_tokens(folder: Path):
    """Against the sum written out, for one prompt."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    pair = make_pairs(1)[0]
    tokenizer = AutoTokenizer.from_pretrained(folder / "one")
    prompt = tokenizer.apply_chat_template(pair["prompt"], add_generation_prompt=True, tokenize=False)
    asked = tokenizer(prompt)["input_ids"]
    ids = [*tokenizer(prompt + pair["chosen"][0]["content"])["input_ids"], tokenizer.eos_token_id]
    with torch.no_grad():
        p, q = (
            AutoModelForCausalLM.from_pretrained(folder / name)(torch.tensor([ids])).logits[0].softmax(-1)
            for name in ("one", "two")
        )
    each = [float((p[at] * (p[at] / q[at]).log()).sum()) for at in range(len(asked) - 1, len(ids) - 1)]
    assert measure(folder, "one", examples=1)["anchor"] == pytest.approx(sum(each) / len(each), rel=1e-3)


def test_one_model_is_in_memory_at_a_time_and_the_next_device_takes_over_where_memory_runs_out(folder: Path):
    import torch

    from services.trainer.adapters.methods.models import load_policy

    loaded: list[weakref.ref[Any]] = []
    asked: list[str] = []

    def load(path: Path, device: str) -> Any:
        asked.append(device)
        assert [model for model in loaded if model() is not None] == []
        if device == "small":
            raise torch.OutOfMemoryError("CUDA out of memory")
        model = load_policy(path).eval()
        loaded.append(weakref.ref(model))
        return model

    points: dict[Point, Path] = {"parent": folder / "one", "anchor": folder / "two"}
    validation, devices = folder / "validation.parquet", ["small", "large"]
    measured = measure_kl(folder / "one", points, validation, examples=4, max_length=96, devices=devices, load=load)
    assert asked == ["small", "large", "large", "large"]
    assert measured == measure(folder, "one", examples=4)


def test_where_no_answer_fits_nothing_is_measured(folder: Path):
    assert measure(folder, "one", max_length=8) == {}


def test_a_candidate_beyond_a_ceiling_is_told_which():
    drift = Drift(max_parent_kl=0.5, max_anchor_kl=1.0)
    assert assess_drift({"parent": 0.4, "anchor": 0.9}, drift) is None
    assert assess_drift({"parent": 9.0, "anchor": 9.0}, Drift()) is None
    assert assess_drift({"parent": 0.4, "anchor": 1.5}, drift) == (
        "the candidate is 1.5 nats a token from its anchor, above drift.max_anchor_kl 1"
    )
    assert assess_drift({"parent": float("nan")}, drift) is not None


def test_the_signature_says_messages_in_and_text_out(tmp_path: Path):
    from mlflow.models import Model

    save_signature(tmp_path)
    signature = Model.load(str(tmp_path / "MLmodel")).signature
    assert signature is not None
    assert signature.inputs.input_names() == ["messages"]
    assert signature.outputs.input_names() == ["content"]


def test_the_environment_names_every_package_and_the_machine(tmp_path: Path):
    import torch

    folder = save_environment(tmp_path / "environment")
    assert f"torch=={torch.__version__.partition('+')[0]}" in (folder / "requirements.txt").read_text()
    assert '"python": "3.' in (folder / "machine.json").read_text()
