"""A candidate is an adapter on a base that stays; the next one goes on with it, against a frozen copy."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from services.trainer.adapters.methods.dpo import _build_trainer, build_arguments, train_dpo  # noqa: E402
from services.trainer.adapters.methods.dpo_trainer import EpsilonDPOTrainer  # noqa: E402
from services.trainer.adapters.methods.guard_callback import GuardCallback  # noqa: E402
from services.trainer.adapters.methods.models import load_policy, load_trainable, merge_model  # noqa: E402
from services.trainer.domain.recipe.parsing import parse_recipe  # noqa: E402
from services.trainer.domain.training import Interrupted, Job  # noqa: E402
from services.trainer.handlers.ladder import train_ladder  # noqa: E402
from shared.artifacts import ArtifactCorrupt, calculate_weights_sha256  # noqa: E402
from shared.artifacts.models import compose_model, find_base, is_adapter, read_base  # noqa: E402
from tests.unit.trainer.methods.test_dpo import make_job  # noqa: E402
from tests.unit.trainer.quiet_reporter import QuietReporter  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]
BASE = "s3://models/base"


def train(folder: Path, parent: Path, *, whole: bool = False, **changes: Any) -> Job:
    job = make_job(folder, parent, **changes)
    job = job if whole else replace(job, parent_uri=BASE, parent_sha256="b" * 64)
    trained = train_dpo(job, QuietReporter())
    assert trained.weights_sha256 == calculate_weights_sha256(job.candidate)
    return job


def compose(job: Job, folder: Path) -> Path:
    return compose_model(job.candidate, find_base(job.parent), folder / "views")


def score(folder: Path) -> Any:
    with torch.inference_mode():
        return load_policy(folder).eval()(torch.arange(40).reshape(2, 20)).logits


def build_trainer(folder: Path, parent: Path, **changes: Any) -> EpsilonDPOTrainer:
    job = make_job(folder, parent, **changes)
    model = load_trainable(job.recipe, parent)
    callback = GuardCallback(job.recipe, QuietReporter())
    shares = bool(changes["prefix_sharing"])
    arguments = build_arguments(job.recipe, job.checkpoints)
    return _build_trainer(job, arguments, model, callback, shares, before_reference=lambda: None)


def test_a_candidate_is_an_adapter_that_names_its_base_and_answers_as_the_merged_one(tmp_path: Path, parent: Path):
    job, merged = train(tmp_path / "a", parent), train(tmp_path / "b", parent, whole=True)
    assert sorted(path.name for path in (job.candidate / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert not list(job.candidate.glob("*.safetensors"))
    assert (job.candidate / "tokenizer.json").read_bytes() == (parent / "tokenizer.json").read_bytes()
    told = {"uri": BASE, "content_sha256": "b" * 64, "weights_sha256": None}
    assert json.loads((job.candidate / "base.json").read_text()) == told
    view = compose(job, tmp_path)
    assert compose(job, tmp_path) == view
    torch.testing.assert_close(score(view), score(merged.candidate), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(score(view), score(parent), atol=1e-2)


def test_the_next_training_goes_on_with_the_champions_adapter_on_the_same_base(tmp_path: Path, parent: Path):
    first = train(tmp_path / "a", parent)
    champion = compose(first, tmp_path)
    second = replace(make_job(tmp_path / "b", champion, lora={"r": 2, "alpha": 2}), parent_uri="s3://models/champion")
    train_dpo(second, QuietReporter())
    assert read_base(second.candidate) == read_base(first.candidate)
    config = json.loads((second.candidate / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["base_model_name_or_path"]) == (4, BASE)
    assert not torch.allclose(score(compose(second, tmp_path)), score(champion), atol=1e-2)


@pytest.mark.parametrize("prefix_sharing", [True, False])
def test_the_reference_is_the_champion_and_not_the_base(tmp_path: Path, parent: Path, prefix_sharing: bool):
    champion = compose(train(tmp_path / "a", parent), tmp_path)
    merge_model(champion, tmp_path / "merged")
    going_on = build_trainer(tmp_path / "c", champion, prefix_sharing=prefix_sharing)
    from_merged = build_trainer(tmp_path / "d", tmp_path / "merged", prefix_sharing=prefix_sharing)
    from_base = build_trainer(tmp_path / "e", parent, prefix_sharing=prefix_sharing)
    for side in ("ref_chosen_logps", "ref_rejected_logps"):
        ours, same, base = (torch.tensor(one.train_dataset[side]) for one in (going_on, from_merged, from_base))
        torch.testing.assert_close(ours, same, atol=1e-3, rtol=1e-4)
        assert (ours - base).abs().max() > 0.5
    trained = [name for name, weight in going_on.model.named_parameters() if weight.requires_grad]
    assert trained
    assert all(".default." in name for name in trained)


def test_whole_weights_trained_from_an_adapter_are_whole(tmp_path: Path, parent: Path):
    champion = compose(train(tmp_path / "a", parent), tmp_path)
    recipe = parse_recipe({"name": "tiny", "method": "dpo", "max_steps": 2, "max_length": 96, "tuning": "full"})
    job = replace(make_job(tmp_path / "b", champion), recipe=recipe, parent_uri="s3://champion")
    train_dpo(job, QuietReporter())
    assert not is_adapter(job.candidate)
    assert not (job.candidate / "base.json").exists()
    assert score(job.candidate).shape == score(parent).shape


def test_the_stages_of_a_ladder_go_on_with_one_adapter(tmp_path: Path, parent: Path):
    stage = {"method": "dpo", "max_steps": 2, "lora": {"r": 4, "alpha": 8}, "max_length": 96, "batch_size": 4}
    stages = [stage | {"name": "first"}, stage | {"name": "second"}]
    recipe = parse_recipe({"name": "tiny", "method": "ladder", "stages": stages})
    job = replace(make_job(tmp_path, parent), recipe=recipe, parent_uri=BASE)
    train_ladder(job, QuietReporter(), {"dpo": train_dpo})
    assert is_adapter(job.candidate)
    reference = read_base(job.candidate)
    assert reference is not None
    assert reference.uri == BASE


def test_an_adapter_that_names_no_base_is_refused(tmp_path: Path):
    (tmp_path / "adapter").mkdir()
    with pytest.raises(ArtifactCorrupt, match="which base"):
        read_base(tmp_path)


def test_a_resumed_continuation_ends_where_an_undisturbed_one_does(tmp_path: Path, parent: Path):
    champion = compose(train(tmp_path / "a", parent), tmp_path)
    jobs = [replace(make_job(tmp_path / name, champion), parent_uri=BASE) for name in ("b", "c")]
    undisturbed = train_dpo(jobs[0], QuietReporter())
    reporter = QuietReporter(stop_at=3)
    with pytest.raises(Interrupted):
        train_dpo(jobs[1], reporter)
    again = replace(jobs[1], checkpoints=tmp_path / "c" / "2", resume_from=reporter.checkpoints[-1])
    assert train_dpo(again, QuietReporter()).weights_sha256 == undisturbed.weights_sha256
    assert load_trainable(jobs[0].recipe, champion) is not None
