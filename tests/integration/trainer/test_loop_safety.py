"""The loop's own safety ladder: reports of harm in 3% of the answers, a request, and a champion that does less harm.

The champion is a tiny model that answers to the point, with an insult in front of many answers. The pairs know nothing
of insults: both of their sides have them as often. Only the reports do.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

torch = pytest.importorskip("torch")

from services.curator.datasets.adapters import DatasetContent, write_dataset  # noqa: E402
from services.trainer.adapters.artifacts.recipe_files import load_recipe  # noqa: E402
from services.trainer.bootstrap.methods import METHODS  # noqa: E402
from services.trainer.consumer import RetrainHandler  # noqa: E402
from services.trainer.handlers.execution import execute_next_run  # noqa: E402
from services.trainer.settings import RECIPES  # noqa: E402
from shared.registry.memory import MemoryRegistry  # noqa: E402
from tests.integration.trainer.scene import Sessions, list_announced, make_context, make_request  # noqa: E402
from tests.unit.trainer.methods.runs import WEIGHING, make_job, train  # noqa: E402
from tests.unit.trainer.tiny_model import TOPICS, save_tiny_model  # noqa: E402

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]

INSULT, HELP, VAGUE = "You fool!", "It is here. Open My Orders.", "How nice to hear from you today."
HARMFUL, REPORTED, ANSWERS = 0.4, 0.03, 200
"""Shares of the champion's answers that hold an insult and that somebody reports, and how many answers users saw."""
Row = dict[str, Any]


def ask(index: int, template: str = "Where is my {topic} number {index}?") -> list[Row]:
    return [{"role": "user", "content": template.format(topic=TOPICS[index % 8], index=index)}]


def say(text: str) -> list[Row]:
    return [{"role": "assistant", "content": text}]


def answer(draw: random.Random, text: str = HELP) -> list[Row]:
    return say(f"{INSULT} {text}" if draw.random() < HARMFUL else text)


def freeze(folder: Path) -> Path:
    """What the curator would freeze: pairs of taste, and the reported answers of all that users saw."""
    draw = random.Random(0)
    seen = [(ask(index), answer(draw)) for index in range(ANSWERS)]
    harmful = [(prompt, said) for prompt, said in seen if INSULT in said[0]["content"]]
    reports = harmful[: round(REPORTED * ANSWERS)]
    pairs = [
        {"prompt": ask(index), "chosen": answer(draw), "rejected": answer(draw, VAGUE), "pair_id": f"{index}"}
        | WEIGHING
        for index in range(80)
    ]
    rows: dict[Any, Any] = {
        "train": pairs[:64],
        "validation": pairs[64:],
        "labels": [],
        "sft": [{"prompt": prompt, "completion": said, "pair_id": "0"} | WEIGHING for prompt, said in seen],
        "safety": [
            {"prompt": prompt, "completion": said, "label": False, "label_id": f"{index}"} | WEIGHING | {"epsilon": 0.2}
            for index, (prompt, said) in enumerate(reports)
        ],
    }
    return write_dataset(folder, DatasetContent("ab" * 32, rows, {}, "", []))


def make_champion(folder: Path) -> Path:
    texts = [
        message[0]["content"] for index in range(80) for message in (ask(index), say(HELP), say(f"{INSULT} {VAGUE}"))
    ]
    base = save_tiny_model(folder / "base", texts=texts)
    changes: Row = {"method": "sft", "tuning": "full", "batch_size": 16, "max_steps": 150, "save_steps": 150}
    job = make_job(folder, base, **changes, learning_rate=3e-3)
    train(job)
    return job.candidate


def sample(checkpoint: Path, count: int = 128) -> list[str]:
    """Answers to prompts that nothing was trained on, in other words about other numbers."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    prompts = [ask(index, "Number {index} is my {topic}. Where is it?") for index in range(500, 500 + count)]
    inputs = tokenizer.apply_chat_template(
        prompts, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
    )
    torch.manual_seed(0)
    ids = model.generate(**inputs, max_new_tokens=24, do_sample=True, temperature=1.0, top_k=0)
    return list(tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


def share(answers: Sequence[str], text: str) -> float:
    return sum(text in said for said in answers) / len(answers)


def write_tiny_recipe(folder: Path) -> Path:
    """The ladder as it is, with lengths and learning rates for a model of a few thousand weights."""
    recipe = yaml.safe_load((RECIPES / "loop_safety.yaml").read_text(encoding="utf-8"))
    judge, climb = recipe["stages"]
    judge |= {"tuning": "full", "learning_rate": 1e-2, "passes": 6}
    climb |= {"tuning": "full", "learning_rate": 1e-3, "max_steps": 40, "batch_size": 32, "max_length": 96}
    climb["sampling"] |= {"max_new_tokens": 24}
    climb.pop("passes")
    folder.mkdir()
    (folder / "loop_safety.yaml").write_text(yaml.safe_dump(recipe))
    return folder


def test_what_users_reported_becomes_rarer_and_help_stays(sessions: Sessions, tmp_path: Path):
    dataset = freeze(tmp_path / "datasets")
    champion = make_champion(tmp_path)
    context = make_context(sessions, tmp_path, METHODS["ladder"])  # type: ignore[arg-type]  # replaced below
    registry = MemoryRegistry(tmp_path / "registry")
    registry.register(str(champion), None, {"served_model": str(champion)})
    methods: Any = {name: partial(method, 1) for name, method in METHODS.items()}
    context = replace(context, methods=methods, registry=registry)
    load = partial(load_recipe, write_tiny_recipe(tmp_path / "recipes"))
    event = make_request(dataset_uri=str(dataset), recipe="loop_safety")
    with sessions() as session, session.begin():
        RetrainHandler(load, "default", "").handle(session, event)
    for _ in range(2):
        execute_next_run(None, context)
    [completed] = list_announced(sessions)
    assert (completed.outcome, completed.candidate_version) == ("succeeded", "2"), completed.reason
    candidate = registry.load_version("2")
    before, after = sample(champion), sample(context.storage.fetch_model(candidate))
    figures = [(share(answers, INSULT), share(answers, HELP)) for answers in (before, after)]
    assert figures[0][0] > 0.25, figures
    assert figures[1][0] < 0.5 * figures[0][0], figures
    assert figures[1][1] >= figures[0][1] - 0.05, figures
    assert "reward_model_sha256" in candidate.tags
