"""The recipe support_bot: its data, its score, and the whole command with a tiny model."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from recipes.command import Options
from recipes.freezing import freeze, read_lines, write_lines
from recipes.support_bot import __main__ as command
from recipes.support_bot.make_data import DATA, SIZES, make_rows
from recipes.support_bot.score import check_answer
from services.trainer.domain.recipe.parsing import parse_recipe
from tests.unit.trainer.tiny_model import save_tiny_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]

ORDER = {"order": "4821", "customer": "Mara Lind", "item": "oak lamp", "status": "shipped", "date": "Friday"}
SEARCH = {"product": "glass vase", "price": "48", "sold_out": ["oak vase", "brass vase"]}


def passes(text: str, facts: dict[str, Any] = ORDER, *, ended: bool = True) -> bool:
    task = "order" if "order" in facts else "recommendation"
    return all(check_answer(task, facts, text, ended=ended).values())


@pytest.mark.parametrize("name", list(SIZES))
def test_the_files_are_what_the_script_writes(tmp_path: Path, name: str) -> None:
    write_lines(tmp_path / "again.jsonl", make_rows(name))
    assert (tmp_path / "again.jsonl").read_bytes() == (DATA / f"{name}.jsonl").read_bytes()


def test_test_questions_share_no_customer_order_item_or_template_with_training() -> None:
    seen = [row for name in ("sft", "train", "validation") for row in read_lines(DATA / f"{name}.jsonl")]
    test = read_lines(DATA / "test.jsonl")
    for fact in ("customer", "order", "item", "product"):
        assert not {row["facts"].get(fact) for row in seen} & {row["facts"].get(fact) for row in test} - {None}
    assert not {strip(row) for row in seen} & {strip(row) for row in test}


def strip(row: dict[str, Any]) -> str:
    """The question without its order, customer and item: the template."""
    question = str(row["prompt"][1]["content"])
    for fact in ("order", "customer", "item"):
        question = question.replace(row["facts"].get(fact, ""), "_") if row["task"] == "order" else question
    return question


def test_each_right_answer_passes_and_each_mistake_fails() -> None:
    for name in SIZES:
        for row in read_lines(DATA / f"{name}.jsonl"):
            for text, right in ((row["answer"], True), (row["rejected"], False)):
                assert all(check_answer(row["task"], row["facts"], text, ended=True).values()) is right, text


def test_an_order_answer_in_other_words_passes() -> None:
    assert passes("Your oak lamp (order 4821) has shipped and will be delivered on Friday.")


@pytest.mark.parametrize(
    "text",
    [
        "Your oak lamp (order 4821) has shipped and will be delivered on Monday.",
        "Your oak lamp (order 4821) has shipped: Friday or Monday.",
        "Your oak lamp (order 4822) has shipped and comes on Friday.",
        "Your glass vase (order 4821) has shipped and comes on Friday.",
        "Your oak lamp (order 4821) was delivered on Friday.",
        "Your oak lamp (order 4821) has shipped, it is delayed until Friday.",
        "",
    ],
)
def test_an_order_answer_with_a_wrong_fact_fails(text: str) -> None:
    assert not passes(text)


def test_an_answer_that_was_cut_off_fails() -> None:
    text = "Your oak lamp (order 4821) has shipped and comes on Friday."
    assert passes(text)
    assert not passes(text, ended=False)


def test_a_recommendation_of_something_sold_out_fails() -> None:
    assert passes("Take the glass vase for 48 euros. Shall I order it?", SEARCH)
    assert not passes("Take the oak vase for 48 euros. Shall I order it?", SEARCH)
    assert not passes("Take the glass vase for 48 euros, or the oak vase. Shall I order it?", SEARCH)
    assert not passes("Take the glass vase for 45 euros. Shall I order it?", SEARCH)


def test_the_recipe_is_one_that_the_trainer_takes() -> None:
    recipe = parse_recipe(yaml.safe_load(command.RECIPE.read_text(encoding="utf-8")))
    assert [stage.method for stage in recipe.stages] == ["sft", "dpo"]


def test_the_same_lines_freeze_to_the_same_dataset(tmp_path: Path) -> None:
    first, again = freeze(DATA, tmp_path / "first"), freeze(DATA, tmp_path / "again")
    assert first.name == again.name
    assert not (first / "test.parquet").exists()


def test_the_command_trains_and_judges_from_one_end_to_the_other(tmp_path: Path) -> None:
    texts = [message["content"] for row in read_lines(DATA / "sft.jsonl") for message in row["prompt"]]
    base = save_tiny_model(tmp_path / "base", texts=texts, vocab_size=1200)
    command.run(Options(base=base, output=tmp_path / "run", keep=False, steps=1, questions=5))
    result = json.loads((tmp_path / "run/recipe-support-bot.json").read_text(encoding="utf-8"))
    scores = {row["name"]: row["median"] for row in result["rows"]}
    assert scores["task score, all, before"] == scores["rise"] == 0
    assert [goal["met"] for goal in result["goals"]] == [False, True]
