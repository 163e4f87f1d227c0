"""The local servers are given folders of whole weights: a candidate that is an adapter is merged for them."""

import sys
from pathlib import Path

import pytest

from services.deployer.adapters.openai_endpoints import LocalServers
from shared.errors import Unavailable
from shared.registry import ModelVersion
from tests.builders import make_artifacts
from tests.unit.trainer.tiny_model import save_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def make_adapter(base: Path, folder: Path) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from services.trainer.adapters.artifacts.candidate import save_adapter
    from shared.artifacts.models import BaseReference

    torch.manual_seed(3)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_()
    save_adapter(model, base, BaseReference(str(base)), folder)
    return folder


def open_servers(folder: Path, merge: list[str]) -> LocalServers:
    artifacts = make_artifacts(folder / "models")
    return LocalServers(["http://127.0.0.1:1/v1"], artifacts, folder / "merged", merge, deadline_seconds=5)


def test_an_adapter_is_merged_once_and_whole_weights_are_served_as_they_are(tmp_path: Path):
    from transformers import AutoModelForCausalLM

    base = save_tiny_model(tmp_path / "base")
    adapter = make_adapter(base, tmp_path / "candidate")
    merge = [sys.executable, "-m", "cli.main", "model", "merge"]
    servers = open_servers(tmp_path, merge)
    version = ModelVersion("2", {"served_model": str(adapter), "weights_sha256": "a" * 64})
    folder = Path(servers.find_model(version))
    assert folder == tmp_path / "merged" / f"2-{'a' * 16}"
    merged, before = (AutoModelForCausalLM.from_pretrained(one).state_dict() for one in (folder, base))
    changed = {name for name in merged if not merged[name].equal(before[name])}
    assert {name.rpartition(".self_attn.")[2] for name in changed} == {"q_proj.weight", "v_proj.weight"}
    assert (folder / "tokenizer.json").exists()
    assert open_servers(tmp_path, ["false"]).find_model(version) == str(folder)
    assert servers.find_model(ModelVersion("1", {"served_model": str(base)})) == str(base)


def test_a_merge_that_fails_says_why(tmp_path: Path):
    adapter = make_adapter(save_tiny_model(tmp_path / "base"), tmp_path / "candidate")
    servers = open_servers(tmp_path, ["sh", "-c", "echo no room >&2; exit 1"])
    with pytest.raises(Unavailable, match="no room"):
        servers.find_model(ModelVersion("2", {"served_model": str(adapter)}))
    assert not (tmp_path / "merged" / "2-").exists()
