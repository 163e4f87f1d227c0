"""`heliotrope model merge`: an adapter becomes whole weights that answer as it did."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from cli.models import app
from shared.artifacts.models import BASE
from tests.unit.local.model_server.serving import load_by_peft, save_adapter
from tests.unit.trainer.tiny_model import save_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def test_an_adapter_is_merged_once(tmp_path: Path):
    base = save_tiny_model(tmp_path / "base")
    candidate, target = save_adapter(base, tmp_path / "candidate", 1), tmp_path / "merged"
    (candidate / BASE).unlink()  # a candidate names its base; who fetches it makes the link
    merged = CliRunner().invoke(app, ["merge", str(candidate), str(target)])
    assert merged.exit_code == 0, merged.output
    assert "weights " in merged.output
    ids = torch.arange(20).view(1, -1)
    with torch.inference_mode():
        whole = AutoModelForCausalLM.from_pretrained(target, dtype=torch.float32)(ids).logits
        assert torch.allclose(whole, load_by_peft(base, candidate)(ids).logits, atol=1e-4)
    again = CliRunner().invoke(app, ["merge", str(candidate), str(target)])
    assert again.exit_code == 1
    assert "exists" in again.output


def test_whole_weights_have_nothing_to_merge(tmp_path: Path):
    base = save_tiny_model(tmp_path / "base")
    refused = CliRunner().invoke(app, ["merge", str(base), str(tmp_path / "merged")])
    assert refused.exit_code == 1
    assert "nothing to merge" in refused.output
