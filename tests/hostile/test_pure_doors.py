"""What is read from outside without a server: recipes, routing tables, tokens, exports."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st

from services.gateway.adapters.routing import RoutingStore
from services.trainer.adapters.artifacts.recipe_files import load_recipe_file
from services.trainer.domain.recipe.parsing import calculate_recipe_sha256, dump_recipe, parse_recipe
from shared.bus import Record, decode
from shared.errors import InvalidRequest, Unauthenticated, UndecodableEvent
from shared.events import RoutingTable
from shared.feedback_tokens import FeedbackToken, FeedbackTokens
from tests.builders import make_id, make_recipe, make_route, make_routing
from tests.hostile.fuzzing import damaged, damaged_bytes, fuzz

pytestmark = pytest.mark.hostile

ALLOWED = "http://models.internal:8000/v1"


def test_a_recipe_is_parsed_or_refused_field_by_field():
    ladder = {
        "name": "steps",
        "method": "ladder",
        "stages": [dump_recipe(make_recipe()), dump_recipe(make_recipe(method="sft"))],
    }

    def check(content: Any) -> None:
        with suppress(InvalidRequest):
            calculate_recipe_sha256(parse_recipe(content))

    assert fuzz(damaged(dump_recipe(make_recipe())) | damaged(ladder), check)


def test_a_recipe_file_whose_aliases_grow_without_bound_is_refused(tmp_path: Path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(InvalidRequest):
        load_recipe_file(path)


def test_a_routing_table_never_leads_to_a_server_that_is_not_on_the_list(tmp_path: Path):
    valid = msgspec.to_builtins(
        make_routing(make_route("1", ALLOWED), canary=make_route("2", ALLOWED), canary_percent=10.0)
    )

    def check(content: bytes) -> None:
        store = RoutingStore(tmp_path / "routing.json", "heliotrope", allowed_base_urls=[ALLOWED])
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            store.offer(msgspec.json.decode(content, type=RoutingTable))
        (tmp_path / "routing.json").write_bytes(content)
        store.load()
        if table := store.in_force:
            assert {route.base_url for route in (table.champion, table.canary) if route} == {ALLOWED}

    assert fuzz(damaged_bytes(valid), check)


def test_a_token_that_was_changed_opens_nothing_but_what_was_signed():
    """Base64 ignores foreign characters and spare bits: such a text is the same token, with the same budget."""
    now = datetime(2026, 11, 27, tzinfo=UTC)
    tokens = FeedbackTokens("a token secret of tests")
    token = FeedbackToken((make_id(1),), "u" * 32, "shop", now + timedelta(days=1))
    signed = tokens.sign(token)

    @st.composite
    def changed(draw: st.DrawFn) -> str:
        cut = draw(st.integers(0, len(signed)))
        return signed[:cut] + draw(st.text(max_size=5)) + signed[cut + draw(st.integers(0, 5)) :]

    def check(text: str) -> None:
        with suppress(Unauthenticated):
            assert tokens.open(text, now) == token

    assert fuzz(changed() | st.text(), check)


def test_a_record_of_any_topic_is_an_event_or_undecodable():
    valid = json.loads(msgspec.json.encode(make_routing()))

    def check(content: bytes) -> None:
        for topic in ("feedback.received", "interaction.recorded", "rollout.advanced", "nobody.knows"):
            with suppress(UndecodableEvent):
                decode(Record(topic, b"key", content, {"ce_type": f"heliotrope.{topic}"}))

    assert fuzz(
        damaged_bytes({"routing": valid, "state": "canary", "summary": "", "at": "2026-11-27T00:00:00Z"}), check
    )


def test_yaml_that_is_no_recipe_is_refused(tmp_path: Path):
    path = tmp_path / "recipe.yaml"

    def check(content: bytes) -> None:
        path.write_bytes(content)
        with suppress(InvalidRequest):
            load_recipe_file(path)

    assert fuzz(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")), check)
