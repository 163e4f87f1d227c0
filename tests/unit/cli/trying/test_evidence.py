"""From files to what is trained on and what is held out: nothing crosses the line."""

from pathlib import Path
from typing import Any

import pytest

from cli.exchange.found import Options
from cli.trying.datasets import curate_evidence, divide, write_snapshot
from cli.trying.evidence import find_source
from cli.trying.running import explain_too_little
from cli.trying.splitting import take_turns
from local.errors import StackFailed
from services.curator.cells.domain.vectors import find_nearest
from services.trainer.adapters.artifacts.holdings import count_holdings
from tests.unit.cli.trying.histories import WordEmbedder, list_rows, read_rows, write_rows


def test_no_region_is_on_both_sides_and_no_training_prompt_is_near_a_held_out_one(tmp_path: Path) -> None:
    curation = curate_evidence(read_rows(tmp_path / "pairs.jsonl", list_rows()).evidence, WordEmbedder())
    splits, snapshot = curation.splits, curation.snapshot
    held_out = splits.select("gate")
    trained = sorted({pair.item.prompt_hash for pair in snapshot.pairs})
    assert len(held_out) >= 10
    assert len(trained) >= 40
    assert {splits.cells[key] for key in held_out}.isdisjoint(splits.cells[key] for key in trained)
    embedder = WordEmbedder()
    texts = {key: str(one.messages[-1]["content"]) for key, one in curation.conversations.items()}
    nearest = find_nearest(
        embedder.embed([texts[key] for key in trained]), embedder.embed([texts[key] for key in held_out])
    )
    threshold = max(splits.near.thresholds.values())
    assert float(nearest.max()) < threshold
    assert splits.near.prompts.isdisjoint(trained)


def test_a_near_copy_of_a_held_out_prompt_is_left_out_of_training(tmp_path: Path) -> None:
    rows = list_rows()
    copies = [row | {"prompt": f"{row['prompt']} {word}"} for row in rows[:6] for word in ("Please", "Thanks")]
    curation = curate_evidence(read_rows(tmp_path / "pairs.jsonl", [*rows, *copies]).evidence, WordEmbedder())
    texts = {key: str(one.messages[-1]["content"]) for key, one in curation.conversations.items()}
    trained = {texts[pair.item.prompt_hash] for pair in curation.snapshot.pairs}
    held_out = {texts[key] for key in curation.splits.select("gate")}
    for row in rows[:6]:
        family = {text for text in texts.values() if text.startswith(row["prompt"])}
        assert len(family) == 3
        assert not (family & trained and family & held_out), family


def test_the_reward_model_gets_other_regions_than_the_policy(tmp_path: Path) -> None:
    curation = curate_evidence(read_rows(tmp_path / "pairs.jsonl", list_rows()).evidence, WordEmbedder())
    policy, reward = divide(curation)
    cells = [{curation.splits.cells[pair.item.prompt_hash] for pair in part.train} for part in (policy, reward)]
    assert cells[0].isdisjoint(cells[1])
    assert len(policy.train) + len(reward.train) == len(curation.snapshot.train)
    assert 0.2 < len(reward.train) / len(curation.snapshot.train) < 0.5


def test_what_is_written_is_a_dataset_that_the_trainer_reads(tmp_path: Path) -> None:
    curation = curate_evidence(read_rows(tmp_path / "pairs.jsonl", list_rows()).evidence, WordEmbedder())
    folder = write_snapshot(tmp_path / "datasets", curation.snapshot, curation, "words")
    assert count_holdings(folder).pairs == len(curation.snapshot.train)


@pytest.mark.parametrize(
    "rows",
    [
        list_rows(2),
        [{"prompt": "Where is it?", "chosen": "Here.", "rejected": "Here."}] * 3,
        [row | {"prompt": "Where is my lamp?"} for row in list_rows(40)],
    ],
    ids=["two rows", "equal answers", "one prompt"],
)
def test_too_little_is_said_to_be_too_little(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    reading = read_rows(tmp_path / "pairs.jsonl", rows)
    curation = curate_evidence(reading.evidence, WordEmbedder())
    problem = explain_too_little(curation)
    assert problem is not None
    assert "more" in problem[1] or "at least" in problem[1]


def test_personal_data_is_redacted_before_anything_is_trained_on(tmp_path: Path) -> None:
    rows = [row | {"chosen": f"{row['chosen']} Write to anna.kovar@example.com."} for row in list_rows(30)]
    evidence = read_rows(tmp_path / "pairs.jsonl", rows).evidence
    assert not any("anna.kovar" in answer.text for answer in evidence.answers.values())
    assert any("[EMAIL]" in answer.text for answer in evidence.answers.values())


def test_the_source_is_recognised_and_a_strange_file_is_an_error(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "pairs.jsonl", list_rows(5))
    assert find_source([file], Options()) in ("pairs", "huggingface", "csv")
    with pytest.raises(StackFailed, match="--source"):
        find_source([write_rows(tmp_path / "odd.jsonl", [{"x": 1}, {"y": 2}])], Options())


def test_every_region_has_its_turn_before_one_has_its_second() -> None:
    cells = {"a1": "a", "a2": "a", "a3": "a", "b1": "b", "c1": "c"}
    assert take_turns(["a1", "a2", "a3", "b1", "c1"], cells) == ["a1", "b1", "c1", "a2", "a3"]
