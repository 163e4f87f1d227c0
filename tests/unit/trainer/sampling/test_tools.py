"""A policy that is sampled from sees what users' requests showed it, and its judge sees that too."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch")

from services.trainer.adapters.artifacts.dataset import (  # noqa: E402
    load_pairs,
    load_prompts,
    render_conversation,
    render_prompt,
)
from services.trainer.adapters.methods.models import load_tokenizer  # noqa: E402
from services.trainer.adapters.methods.online.grpo import DescribingGRPOTrainer  # noqa: E402
from services.trainer.adapters.methods.online.reward_model import build_scorer, load_reward_model  # noqa: E402
from services.trainer.adapters.methods.online.rloo import DescribingRLOOTrainer  # noqa: E402
from tests.unit.trainer.methods.rendering import TOOL  # noqa: E402
from tests.unit.trainer.methods.runs import SAMPLED, freeze, make_job, train  # noqa: E402
from tests.unit.trainer.tiny_model import CHAT_TEMPLATE, save_tiny_model  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]
OFFERING_TEMPLATE = (
    "{% for tool in tools or [] %}<|im_start|>tool {{ tool.function.name }}<|im_end|>\n{% endfor %}" + CHAT_TEMPLATE
)


@pytest.fixture(scope="module")
def helpful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chat model whose template shows it the tools that it has."""
    folder = save_tiny_model(tmp_path_factory.mktemp("helpful"))
    (folder / "chat_template.jinja").write_text(OFFERING_TEMPLATE)
    return folder


@pytest.fixture(scope="module")
def judge(helpful: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    job = make_job(tmp_path_factory.mktemp("judge"), helpful, method="reward", max_steps=2)
    train(job)
    return job.candidate


def offer_tools(path: Path) -> None:
    """Give every second prompt a tool."""
    rows = pq.read_table(path).to_pylist()
    for row in rows[::2]:
        row["tools"] = json.dumps([TOOL])
    pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(path)), path)


@pytest.mark.parametrize(("method", "trainer"), [("rloo", DescribingRLOOTrainer), ("grpo", DescribingGRPOTrainer)])
def test_a_policy_is_asked_with_the_tools_of_each_prompt(
    tmp_path: Path, helpful: Path, judge: Path, method: str, trainer: Any, monkeypatch: pytest.MonkeyPatch
):
    asked: list[list[int]] = []
    generate = trainer._generate_single_turn

    def note_and_generate(self: Any, prompt_ids: list[list[int]], *others: Any, **named: Any) -> Any:
        asked.extend(prompt_ids)
        return generate(self, prompt_ids, *others, **named)

    monkeypatch.setattr(trainer, "_generate_single_turn", note_and_generate)
    path = freeze(tmp_path / "datasets") / "train.parquet"
    offer_tools(path)
    train(make_job(tmp_path, helpful, method=method, reward_model=str(judge), **SAMPLED | {"max_steps": 4}))
    tokenizer = load_tokenizer(helpful)
    served = {str(render_prompt(row, tokenizer, tokenize=False)) for row in load_prompts(path)}
    texts = {tokenizer.decode(ids) for ids in asked}
    assert texts <= served
    assert {"order_lookup" in text for text in texts} == {True, False}


def test_a_judge_scores_an_answer_to_a_prompt_with_its_tools(tmp_path: Path, helpful: Path, judge: Path):
    tokenizer = load_tokenizer(helpful)
    model = load_reward_model(judge, tokenizer).eval()
    path = freeze(tmp_path) / "train.parquet"
    offer_tools(path)
    row = load_pairs(path)[0]
    asked = {"prompts": [row["prompt"]], "completions": [row["chosen"]]}
    [found], [bare] = (build_scorer(model, tokenizer)(**asked, tools=tools) for tools in ([row["tools"]], None))
    ids = render_conversation(row, row["chosen"], tokenizer, tokenize=True, return_dict=False)
    end = len(ids) - ids[::-1].index(tokenizer.eos_token_id)
    with torch.inference_mode():
        wanted = float(model(torch.tensor([ids[:end]])).logits[0, 0])
    assert found == pytest.approx(wanted, abs=1e-5)
    assert found != pytest.approx(bare, abs=1e-5)
