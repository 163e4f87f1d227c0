"""Cells around anchors, their splits and quotas, and how near to the gate is too near."""

from collections import Counter
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest

from local.simulation.prompts import draw_live_questions
from services.curator.cells.domain.near_gate import find_near_gate
from services.curator.cells.domain.placement import CUT, Anchors, Placement, Unplaced, place
from services.curator.cells.domain.questions import derive_turns
from services.curator.cells.domain.splits import Split, assign_splits
from services.curator.cells.domain.vectors import Vectors, mix, normalize, pack, unpack
from tests.builders import EMBEDDER

EMPTY = Anchors([], [], np.zeros(0, dtype=np.float32), np.zeros((0, 8), dtype=np.float32), {})


def draw_vectors(count: int, dimensions: int = 8, seed: int = 1) -> Vectors:
    return normalize(np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32))


def name(count: int, former: Split | None = None) -> list[Unplaced]:
    return [Unplaced(f"{number:064x}", former) for number in range(count)]


def place_all(prompts: Sequence[Unplaced], vectors: Vectors) -> Placement:
    return place(prompts, vectors, EMPTY, {}, "toy")


def store(placement: Placement, prompts: Sequence[Unplaced], vectors: Vectors) -> Anchors:
    rows = {prompt.prompt_hash: row for prompt, row in zip(prompts, vectors, strict=True)}
    cells = sorted(placement.cells, key=lambda cell: cell.cell)
    return Anchors(
        [cell.cell for cell in cells],
        [cell.split for cell in cells],
        np.array([cell.cut for cell in cells], dtype=np.float32),
        np.array([rows[cell.anchor] for cell in cells]),
        Counter(cell for cell, _ in placement.prompts.values()),
    )


def test_the_order_of_prompts_decides_nothing() -> None:
    prompts, vectors = name(300), draw_vectors(300)
    order = Random(3).sample(range(300), 300)
    shuffled = place_all([prompts[at] for at in order], vectors[order])
    assert shuffled.prompts == place_all(prompts, vectors).prompts


def test_every_prompt_is_as_near_to_its_anchor_as_its_cell_asks() -> None:
    prompts, vectors = name(300), draw_vectors(300)
    placement = place_all(prompts, vectors)
    rows = dict(zip((prompt.prompt_hash for prompt in prompts), vectors, strict=True))
    anchors = {cell.cell: (rows[cell.anchor], cell.cut) for cell in placement.cells}
    for prompt_hash, (cell, _) in placement.prompts.items():
        anchor, cut = anchors[cell]
        assert rows[prompt_hash] @ anchor >= cut - 1e-4
        assert cut >= CUT


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.3])
def test_no_cell_holds_more_than_two_hundredths_of_the_prompts(spread: float) -> None:
    """However alike they are: a thousand askings of one question are no cell of a thousand."""
    one = draw_vectors(1)
    vectors = normalize(one + spread * draw_vectors(1000, seed=2))
    sizes = Counter(cell for cell, _ in place_all(name(1000), vectors).prompts.values())
    assert max(sizes.values()) <= 20
    assert sum(sizes.values()) == 1000


def test_later_prompts_join_the_cell_of_what_they_are_near_to_and_change_no_cell() -> None:
    centres = draw_vectors(100, 128)
    prompts, vectors = name(300), normalize(np.repeat(centres, 3, axis=0) + 0.1 * draw_vectors(300, 128, seed=2))
    first = place_all(prompts, vectors)
    later = [Unplaced("f" * 60 + f"{number:04x}") for number in range(100)]
    placement = place(later, centres, store(first, prompts, vectors), {"train": 300}, "toy")
    assert not placement.cells
    for number, prompt in enumerate(later):
        assert placement.prompts[prompt.prompt_hash] == first.prompts[prompts[3 * number].prompt_hash]


@pytest.mark.parametrize("former", ["train", "validation"])
def test_what_may_have_been_trained_on_never_comes_into_the_gate(former: Split) -> None:
    vectors = draw_vectors(400)
    moved = [*name(200, former), *[Unplaced("e" * 60 + f"{number:04x}", "gate") for number in range(200)]]
    at_once = place_all(moved, vectors)
    gate = [Unplaced("d" * 60 + f"{number:04x}", "gate") for number in range(400)]
    stored = store(place_all(gate, vectors), gate, vectors)
    into_stored = place(moved, vectors, stored, {"gate": 400}, "toy")
    for placement in (at_once, into_stored):
        splits = {placement.prompts[prompt.prompt_hash][1] for prompt in moved[:200]}
        assert "gate" not in splits
        assert splits <= ({"train"} if former == "train" else {"train", "validation"})


def test_a_gate_prompt_near_to_a_trained_one_leaves_the_gate() -> None:
    vectors = np.repeat(draw_vectors(1), 2, axis=0)
    placement = place_all([Unplaced("b", "gate"), Unplaced("c", "train")], vectors)
    assert {split for _, split in placement.prompts.values()} == {"train"}


def test_quotas_are_met_with_what_the_splits_hold_already() -> None:
    sizes = {f"cell-{number}": 1 + number % 5 for number in range(400)}
    splits = assign_splits(sizes, {"train": 100, "gate": 300})
    count: Counter[str] = Counter({"train": 100, "gate": 300})
    for cell, split in splits.items():
        count[split] += sizes[cell]
    total = sum(count.values())
    assert count["gate"] == 300 or abs(count["gate"] / total - 0.2) < 0.01
    assert abs(count["validation"] / total - 0.1) < 0.01
    assert set(assign_splits({"a": 1, "b": 2, "c": 1}, {}).values()) == {"train"}


def test_the_demos_questions_fill_the_splits_about_as_intended() -> None:
    texts = sorted({question.text for question in draw_live_questions(1000, Random(1))})
    prompts = name(len(texts))
    splits = Counter(split for _, split in place_all(prompts, EMBEDDER.embed(texts)).prompts.values())
    assert 0.15 < splits["gate"] / len(texts) < 0.25
    assert 0.05 < splits["validation"] / len(texts) < 0.15


def test_continue_belongs_to_what_is_to_be_continued() -> None:
    story = "Write a story about a dragon who is afraid of heights."
    taxes = "Explain how income tax is calculated in Germany."
    goes_on = [{"role": "assistant", "content": "First."}, {"role": "user", "content": "go on"}]
    said = [
        [{"role": "user", "content": story}, *goes_on],
        [{"role": "user", "content": taxes}, *goes_on],
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": story}],
    ]
    turns = [derive_turns(messages) for messages in said]
    flat = [turn for of_prompt in turns for turn in of_prompt]
    vectors = EMBEDDER.embed([turn.text for turn in flat])
    story_goes_on, taxes_go_on, story_begins = mix(vectors, [turn.weight for turn in flat], [len(of) for of in turns])
    assert story_goes_on @ story_begins > 0.9
    assert story_goes_on @ taxes_go_on < CUT


def test_an_endless_text_costs_no_more_than_a_long_one() -> None:
    (turn,) = derive_turns([{"role": "user", "content": "x" * 1_000_000}])
    assert len(turn.text) < 2_010
    assert derive_turns([{"role": "user", "content": [{"type": "image_url", "sha256": "0"}]}])[0].text == ""


def test_the_same_question_in_other_words_or_another_language_is_near() -> None:
    asked = ["Où est mon colis ?", "Where is my parcel?", "¿Dónde está mi paquete?", "我的包裹在哪里？", "Bake a cake."]
    french, *same, other = EMBEDDER.embed(asked)
    assert all(french @ one > CUT for one in same)
    assert french @ other < CUT


def test_a_text_that_says_nothing_and_half_a_letter_are_embedded_too() -> None:
    vectors = EMBEDDER.embed(["", " \n", "half \ud83d"])
    assert np.linalg.norm(vectors, axis=1).round(3).tolist() == [0, 0, 1]


def test_stored_vectors_are_what_was_stored() -> None:
    vectors = draw_vectors(5)
    assert np.abs(unpack(pack(vectors)) - vectors).max() < 1e-3
    assert unpack([]).shape == (0, 0)


@pytest.mark.parametrize("gate_prompts", [50, 2_000])
def test_at_most_a_twentieth_of_unrelated_prompts_is_too_near_to_the_gate(gate_prompts: int) -> None:
    vectors, gate = draw_vectors(1_000, 64), draw_vectors(gate_prompts, 64, seed=2)
    hashes = [f"{number:04}" for number in range(1_000)]
    copies = np.vstack([vectors, gate[:5]])
    near = find_near_gate([*hashes, *"abcde"], copies, ["en"] * 600 + ["zh"] * 405, gate)
    assert near.prompts >= set("abcde")
    assert len(near.prompts - set("abcde")) <= 50
    assert near.gate_prompts == gate_prompts
    assert near.measured_on == {"en": 600, "zh": 405}


def test_few_prompts_of_a_language_share_a_threshold_and_far_ones_stay() -> None:
    gate = np.eye(2, dtype=np.float32)[:1]
    far = np.repeat(np.eye(2, dtype=np.float32)[1:], 30, axis=0)
    near = find_near_gate([str(number) for number in range(30)], far, ["en"] * 10 + ["zh"] * 20, gate)
    assert not near.prompts
    assert list(near.thresholds) == ["other"]
    assert not find_near_gate([], far[:0], [], gate).prompts
