"""Gate cells that were used often go on with newly asked prompts."""

from datetime import UTC, datetime, timedelta

from services.evaluator.domain.prompts import GatePrompt, find_renewal, keep_fresh

MORNING = datetime(2026, 11, 22, 9, tzinfo=UTC)


def after(days: int) -> datetime:
    return MORNING + timedelta(days=days)


def prompt(cell: str, day: int) -> GatePrompt:
    return GatePrompt(f"{cell}-{day}", cell, [{"role": "user", "content": "?"}], after(day))


def test_a_cell_is_renewed_at_every_so_many_uses() -> None:
    uses = [after(day) for day in (5, 1, 3, 2, 4)]
    assert find_renewal(uses, 6) is None
    assert find_renewal(uses, 5) == after(5)
    assert find_renewal(uses, 2) == after(4)


def test_old_prompts_of_a_used_up_cell_are_spent_and_new_ones_are_not() -> None:
    prompts = [prompt("shop", 0), prompt("shop", 9), prompt("post", 0)]
    fresh = keep_fresh(prompts, {"shop": [after(1), after(2)], "post": [after(1)]}, 2)
    assert [one.prompt_hash for one in fresh] == ["shop-9", "post-0"]
