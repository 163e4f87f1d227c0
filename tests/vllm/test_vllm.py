"""The real vLLM on a CPU: adapters loaded, verified, put back after a kill, unloaded. `make test-vllm` runs it.

`HELIOTROPE_TEST_VLLM` is the command (`.../bin/vllm`), an environment of its own; `HELIOTROPE_TEST_VLLM_MODEL` a chat
model's folder, without it SmolLM2 is written from its wheel.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.deployer.adapters.candidate_files import CandidateFiles
from services.deployer.adapters.serving import locate_adapter
from services.deployer.adapters.vllm import VllmReplicas
from shared.events import Route
from shared.registry import ModelVersion
from shared.signing import Verifier
from tests.builders import make_artifacts, make_routing
from tests.vllm.replica import KEY, Replica

pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.vllm,
    pytest.mark.timeout(1_500),
    pytest.mark.skipif("HELIOTROPE_TEST_VLLM" not in os.environ, reason="HELIOTROPE_TEST_VLLM names no vLLM"),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from local.models.checkpoints import export_smollm2

    given = os.environ.get("HELIOTROPE_TEST_VLLM_MODEL")
    return Path(given) if given else export_smollm2(tmp_path_factory.mktemp("base") / "smollm2")


def make_adapter(base: Path, folder: Path, seed: int) -> None:
    """A strong adapter of random weights, so that each answers otherwise."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    config = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0.0, 0.2)
    model.save_pretrained(folder / "adapter")


@pytest.fixture(scope="module")
def replica(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    running = Replica(base, tmp_path_factory.mktemp("vllm") / "log")
    try:
        sys.stdout.write(f"vLLM answered after {running.start():.0f} s\n")
        yield running
    finally:
        running.kill()


def answer_here(base: Path, adapter: Path) -> str:
    """What transformers and PEFT answer."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), adapter)
    messages = [{"role": "user", "content": "Where is my parcel?"}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=False)
    with torch.inference_mode():
        output = model.generate(input_ids=ids, max_new_tokens=12, do_sample=False)
    return str(tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True))


def test_candidates_come_and_go_on_a_real_vllm(replica: Replica, base: Path, tmp_path: Path):
    artifacts, clock = make_artifacts(tmp_path / "models"), [0.0]
    serving = VllmReplicas(
        replica.url,
        lambda: [replica.url],
        lambda version: locate_adapter(CandidateFiles(artifacts, Verifier([])), version, by_address=False),
        "shop",
        key=KEY,
        drain_seconds=60,
        have_flipped=lambda: True,
        deadline_seconds=180,
        clock=lambda: clock[0],
    )
    table = make_routing(Route(version="1", model="base", base_url=replica.url))
    versions = [make_version(artifacts.upload, base, tmp_path, number) for number in (2, 3)]
    routes = [serving.serve(version, table) for version in versions]
    assert [route.model for route in routes] == ["shop-v2", "shop-v3"]
    answers = {model: replica.ask(model) for model in ("base", "shop-v2", "shop-v3")}
    assert len(set(answers.values())) == 3
    for number in (2, 3):
        assert answers[f"shop-v{number}"].strip() == answer_here(base, tmp_path / str(number) / "adapter").strip()

    replica.kill()
    sys.stdout.write(f"vLLM answered again after {replica.start():.0f} s\n")
    assert replica.ask("shop-v3") == 404
    both = list(zip(versions, routes, strict=True))
    assert serving.maintain(both) == 2
    assert replica.ask("shop-v3") == answers["shop-v3"]

    assert serving.maintain(both[1:]) == 0
    clock[0] = 61.0
    assert serving.maintain(both[1:]) == 1
    assert (replica.ask("shop-v2"), replica.ask("shop-v3")) == (404, answers["shop-v3"])
    serving.close()


def make_version(upload: Callable[[Path, str], str], base: Path, folder: Path, number: int) -> ModelVersion:
    candidate = folder / str(number)
    make_adapter(base, candidate, number)
    (candidate / "base.json").write_text(json.dumps({"uri": str(base)}))
    content = upload(candidate, str(candidate))
    return ModelVersion(str(number), {"served_model": str(candidate), "content_sha256": content})
