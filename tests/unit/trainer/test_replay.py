"""Replay: which rows of earlier snapshots are learnt again, and how they reach a method."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.trainer.adapters.artifacts.dataset import load_pairs, weigh_pairs
from services.trainer.adapters.artifacts.replay import load_earlier, mix_dataset
from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.recipe.sections import Replay
from services.trainer.domain.replay import EarlierSnapshot, choose_rows
from services.trainer.domain.training import TrainingFailed
from shared.errors import InvalidRequest
from tests.unit.trainer.tiny_model import make_pairs, save_dataset

IDS = [f"p{number}" for number in range(400)]
CHAIN = [
    EarlierSnapshot("newest", frozenset(IDS[:300])),
    EarlierSnapshot("middle", frozenset(IDS[:200])),
    EarlierSnapshot("oldest", frozenset(IDS[:100])),
]


def test_without_a_ratio_every_row_is_taken():
    mix = choose_rows(IDS, CHAIN, Replay(), seed=0)
    assert mix.ids == IDS
    assert (mix.new, mix.old) == (100, 300)
    assert mix.replayed == {"newest": 100, "middle": 100, "oldest": 100}


def test_the_ratio_counts_old_rows_for_each_new_one():
    mix = choose_rows(IDS, CHAIN, Replay(ratio=0.5), seed=0)
    assert (mix.new, sum(mix.replayed.values())) == (100, 50)
    assert set(IDS[300:]) <= set(mix.ids)
    assert mix.ids == [row for row in IDS if row in set(mix.ids)]


def test_a_ratio_beyond_the_history_takes_all_of_it():
    assert choose_rows(IDS, CHAIN, Replay(ratio=99), seed=0).ids == IDS


def test_a_ratio_of_nothing_takes_what_is_new_alone():
    assert choose_rows(IDS, CHAIN, Replay(ratio=0), seed=0).ids == IDS[300:]


def test_where_nothing_is_new_everything_is_taken():
    assert choose_rows(IDS[:300], CHAIN, Replay(ratio=0.5), seed=0).ids == IDS[:300]


def test_the_draw_depends_on_the_seed_and_not_on_the_order():
    draw = Replay(ratio=0.5)
    first = choose_rows(IDS, CHAIN, draw, seed=1)
    assert choose_rows(IDS[::-1], CHAIN, draw, seed=1).ids == first.ids[::-1]
    assert choose_rows(IDS, CHAIN, draw, seed=2).ids != first.ids


def test_a_row_as_old_as_two_half_lives_is_drawn_a_quarter_as_often():
    """Of 40 draws of 30 in 300: within five standard deviations of the shares 4 : 2 : 1, far from equal ones."""
    drawn = {"newest": 0, "middle": 0, "oldest": 0}
    for seed in range(40):
        for name, count in choose_rows(IDS, CHAIN, Replay(ratio=0.3, half_life=1.0), seed).replayed.items():
            drawn[name] += count
    total = sum(drawn.values())
    assert total == 40 * 30
    for name, share in (("newest", 4 / 7), ("middle", 2 / 7), ("oldest", 1 / 7)):
        assert drawn[name] / total == pytest.approx(share, abs=5 * (share * (1 - share) / total) ** 0.5)


def test_a_row_is_as_old_as_the_snapshot_that_first_held_it():
    assert choose_rows(["p5"], CHAIN, Replay(), seed=0).replayed == {"oldest": 1}


def save_snapshot(folder: Path, pairs: list[dict[str, Any]], validation: list[dict[str, Any]]) -> Path:
    save_dataset(folder, pairs)
    pq.write_table(pa.Table.from_pylist(validation), folder / "validation.parquet")
    return folder


def read_ids(folder: Path) -> list[str]:
    ids: list[str] = pq.read_table(folder / "train.parquet")["pair_id"].to_pylist()
    return ids


def test_inside_the_loop_what_the_newest_snapshot_left_out_never_comes_back(tmp_path: Path):
    pairs = make_pairs(12)
    dataset = save_snapshot(tmp_path / "now", pairs[:8], pairs[8:10])
    earlier = [EarlierSnapshot("before", frozenset({"0", "1", "2", "3", "11"}))]  # 11 was erased since
    mixed = mix_dataset(dataset, earlier, Replay(ratio=1.0), seed=0, target=tmp_path / "mix")
    assert read_ids(mixed.dataset) == [str(number) for number in range(8)]
    summary = {"new": 4, "replayed": 4, "of": 4, "first_in": {"before": 4}}
    assert mixed.summary == {"train": summary}
    assert json.loads((mixed.dataset / "manifest.json").read_text())["replay"] == mixed.summary


def test_an_erased_snapshot_is_skipped_and_named(tmp_path: Path):
    dataset = save_snapshot(tmp_path / "now", make_pairs(8), make_pairs(10)[8:])
    gone = load_earlier(tmp_path / "gone")
    mixed = mix_dataset(dataset, [gone], Replay(ratio=1.0), seed=0, target=tmp_path / "mix")
    assert mixed.summary["skipped"] == {"gone": "its files are gone"}
    assert len(read_ids(mixed.dataset)) == 8


def test_listed_folders_give_their_own_rows_but_no_prompt_of_the_validation_split(tmp_path: Path):
    pairs = make_pairs(12)
    dataset = save_snapshot(tmp_path / "now", pairs[:4], pairs[8:10])
    before = save_snapshot(tmp_path / "before", pairs[2:10], pairs[10:])
    for ratio, expected in ((None, ["0", "1", "2", "3", "4", "5", "6", "7"]), (0, ["0", "1"])):
        mixed = mix_dataset(
            dataset,
            [load_earlier(before)],
            Replay(ratio=ratio),
            seed=0,
            target=tmp_path / f"mix-{ratio}",
            folders=[before],
        )
        assert read_ids(mixed.dataset) == expected
        kept_back = pq.read_table(mixed.dataset / "validation.parquet")["pair_id"].to_pylist()
        assert kept_back == ["8", "9"]


def test_a_mix_is_the_same_bytes_again(tmp_path: Path):
    dataset = save_snapshot(tmp_path / "now", make_pairs(8), make_pairs(10)[8:])
    earlier = [EarlierSnapshot("before", frozenset({"0", "1", "2", "3"}))]
    mixes = [
        mix_dataset(dataset, earlier, Replay(ratio=0.5), seed=3, target=tmp_path / name).dataset for name in ("a", "b")
    ]
    assert len(read_ids(mixes[0])) == 6
    assert (mixes[0] / "train.parquet").read_bytes() == (mixes[1] / "train.parquet").read_bytes()


def test_a_rules_weight_multiplies_its_pairs(tmp_path: Path):
    pairs = make_pairs(4)
    pairs[0]["rule"] = "regenerate"
    dataset = save_snapshot(tmp_path / "now", pairs, make_pairs(6)[4:])
    replay = Replay(rule_weights={"regenerate": 0.5})
    mixed = mix_dataset(dataset, [], replay, seed=0, target=tmp_path / "mix")
    assert weigh_pairs(load_pairs(mixed.dataset / "train.parquet")) == pytest.approx([4 / 7, 8 / 7, 8 / 7, 8 / 7])
    assert weigh_pairs(load_pairs(dataset / "train.parquet")) == pytest.approx([1.0] * 4)


def test_rows_without_an_id_are_refused(tmp_path: Path):
    pairs = [pair | {"pair_id": None} for pair in make_pairs(4)]
    dataset = save_snapshot(tmp_path / "now", pairs, pairs)
    with pytest.raises(TrainingFailed, match="neither pair_id nor label_id"):
        mix_dataset(dataset, [], Replay(ratio=1.0), seed=0, target=tmp_path / "mix")


def test_replay_belongs_to_a_ladder_and_rule_weights_to_methods_that_weigh():
    stage = {"name": "imitate", "method": "sft", "max_steps": 2}
    assert parse_recipe({"name": "up", "method": "ladder", "stages": [stage], "replay": {"ratio": 1}}).replay.ratio == 1
    for recipe, field in (
        ({"name": "up", "method": "ladder", "stages": [stage | {"replay": {"ratio": 1}}]}, r"stages\[0\].replay"),
        (stage | {"replay": {"rule_weights": {"edit": 2}}}, "replay.rule_weights: not used by the method sft"),
        (stage | {"replay": {"ratio": -1}}, "replay.ratio"),
    ):
        with pytest.raises(InvalidRequest, match=field):
            parse_recipe(recipe)
