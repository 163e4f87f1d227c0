"""The recipe safety_rlhf: its data, its scores, and the whole command with a tiny model."""

import json
from pathlib import Path

import pytest
import yaml

from recipes.command import Options, Progress
from recipes.freezing import read_lines, write_lines
from recipes.safety_rlhf import __main__ as command
from recipes.safety_rlhf.make_data import DATA, HARMFUL, make_all
from recipes.safety_rlhf.score import HarmClassifier, has_harmful_words, is_helpful
from recipes.safety_rlhf.starting_models import FOLDER, find_beginning, prepare
from recipes.safety_rlhf.wording import CLASSIFIER_ITEMS, REWARD_ITEMS, SFT_ITEMS, TEST_ITEMS
from services.trainer.domain.recipe.parsing import parse_recipe
from tests.unit.trainer.tiny_model import save_tiny_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]

GOOD = "Wash the teak bench in warm water with a little soap. Write to us if you need more help."
RUDE = "Only a fool would ask that. " + GOOD
INDISCREET = "Mrs Hale on Mill Lane asked this too, her phone number is in our list. " + GOOD


@pytest.fixture(scope="module")
def classifier() -> HarmClassifier:
    rows = read_lines(DATA / "classifier.jsonl")
    return HarmClassifier([row["text"] for row in rows], [row["harmful"] for row in rows])


def test_the_files_are_what_the_script_writes(tmp_path: Path) -> None:
    for name, rows in make_all().items():
        write_lines(tmp_path / f"{name}.jsonl", rows)
        assert (tmp_path / f"{name}.jsonl").read_bytes() == (DATA / f"{name}.jsonl").read_bytes()


def test_no_item_is_in_the_data_of_two_of_start_reward_classifier_and_test() -> None:
    groups = [SFT_ITEMS, REWARD_ITEMS, CLASSIFIER_ITEMS, TEST_ITEMS]
    assert len({item for group in groups for item in group}) == sum(len(group) for group in groups)


def test_there_are_at_least_200_test_questions_in_templates_of_their_own() -> None:
    test = read_lines(DATA / "test.jsonl")
    assert len(test) >= 200
    templates = {row["prompt"][1]["content"].replace(row["item"], "_") for row in test}
    for row in read_lines(DATA / "sft.jsonl") + read_lines(DATA / "train.jsonl"):
        asked = row["prompt"][1]["content"]
        for item in SFT_ITEMS + REWARD_ITEMS:
            assert asked.replace(item, "_") not in templates


def test_the_demonstrations_are_harmful_at_the_stated_rate() -> None:
    rows = read_lines(DATA / "sft.jsonl")
    assert sum(row["harmful"] for row in rows) / len(rows) == pytest.approx(HARMFUL, abs=0.02)


def test_the_classifier_judges_rows_that_neither_it_nor_the_reward_model_saw(classifier: HarmClassifier) -> None:
    assert classifier.accuracy > 0.9
    assert classifier([GOOD, RUDE, INDISCREET]) == [False, True, True]
    demonstrations = read_lines(DATA / "sft.jsonl")
    right = [
        said == row["harmful"]
        for said, row in zip(classifier([row["answer"] for row in demonstrations]), demonstrations, strict=True)
    ]
    assert sum(right) / len(right) > 0.95


def test_the_word_list_knows_insults_and_gossip() -> None:
    assert [has_harmful_words(text) for text in (GOOD, RUDE, INDISCREET)] == [False, True, True]


def test_a_helpful_answer_names_the_item_advises_and_offers_a_next_step() -> None:
    assert is_helpful("clean", "teak bench", GOOD, ended=True)
    assert is_helpful("clean", "teak bench", RUDE, ended=True)  # rudeness is the other score's affair
    assert not is_helpful("clean", "teak bench", GOOD, ended=False)
    assert not is_helpful("clean", "silver spoon", GOOD, ended=True)
    assert not is_helpful("return", "teak bench", "Wash the teak bench with a little soap.", ended=True)
    assert not is_helpful("clean", "teak bench", "We are happy to help with your teak bench.", ended=True)


@pytest.mark.parametrize("name", ["start", "reward", "ppo"])
def test_each_recipe_is_one_that_the_trainer_takes(name: str) -> None:
    content = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    parse_recipe(content | ({"reward_model": "reward"} if name == "ppo" else {}))


def test_the_command_runs_from_one_end_to_the_other_and_once_more_without_the_penalty(tmp_path: Path) -> None:
    pairs = read_lines(DATA / "train.jsonl")
    texts = [turn["content"] for row in pairs for turn in row["prompt"]]
    texts += [row[side] for row in pairs for side in ("chosen", "rejected")]
    base = save_tiny_model(tmp_path / "base", texts=texts, vocab_size=4000)
    options = Options(base=base, output=tmp_path / "run", keep=False, steps=1, questions=6)
    say = Progress()
    beginning = prepare(options, say)
    command.run(options, say, beginning)
    result = json.loads((tmp_path / "run/recipe-safety-rlhf.json").read_text(encoding="utf-8"))
    assert {row["name"] for row in result["rows"]} >= {"harmful, before", "harmful, after", "KL to the start, after"}
    assert find_beginning(tmp_path / "run") == beginning
    options = Options(base=base, output=tmp_path / "low", keep=False, steps=1, questions=6)
    command.run_too_low(options, say, beginning)
    low = json.loads((tmp_path / "low/recipe-safety-rlhf-kl-too-low.json").read_text(encoding="utf-8"))
    assert low["goals"][0] == {
        "name": "stopped by the guard",
        "value": 0.0,
        "goal": 1,
        "sense": "at_least",
        "met": False,
    }
