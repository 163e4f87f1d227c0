"""The migrations against a real Postgres: up, down, and equal to the tables in the code."""

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError

from shared.tables import SCHEMAS, Base

ROOT = Path(__file__).parents[2]


def list_schemas(url: str) -> set[str]:
    engine = create_engine(url)
    with engine.connect() as connection:
        names = set(connection.scalars(text("SELECT schema_name FROM information_schema.schemata")))
    engine.dispose()
    return names & set(SCHEMAS)


def test_the_migrated_database_is_what_the_tables_say(database_url: str):
    engine = create_engine(database_url)
    with engine.connect() as connection:
        options = {"include_schemas": True, "include_name": lambda name, kind, _: kind != "schema" or name in SCHEMAS}
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)
    engine.dispose()
    assert differences == []


def test_every_migration_goes_down_and_up_again(database_url: str):
    config = Config(ROOT / "alembic.ini")
    config.attributes["url"] = database_url
    assert list_schemas(database_url) == set(SCHEMAS)
    command.downgrade(config, "base")
    assert list_schemas(database_url) == set()
    command.upgrade(config, "head")
    assert list_schemas(database_url) == set(SCHEMAS)


def test_a_prompt_cannot_leave_the_split_of_its_cell(database_url: str):
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO curator.cells (cell, split) VALUES ('c1', 'gate')"))
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(
            text("INSERT INTO curator.prompts (prompt_hash, messages, cell, split) VALUES ('p', '[]', 'c1', 'train')")
        )
    engine.dispose()


ROLLOUT = """
INSERT INTO deployer.rollouts
    (rollout_id, request_id, evaluation, candidate_version, champion_version, state, approval_hash, {column})
VALUES (gen_random_uuid(), gen_random_uuid(), '{{}}', '2', '1', 'canary', 'a', 'at first') RETURNING rollout_id
"""


@pytest.mark.parametrize(("writes", "reads"), [("words", "summary"), ("summary", "words")])
def test_a_summary_is_the_same_for_both_releases_whichever_wrote_it(database_url: str, writes: str, reads: str):
    engine = create_engine(database_url)
    with engine.begin() as connection:
        rollout_id = connection.scalar(text(ROLLOUT.format(column=writes)))
        read = text(f"SELECT {reads} FROM deployer.rollouts WHERE rollout_id = :id")
        assert connection.scalar(read, {"id": rollout_id}) == "at first"
        connection.execute(text(f"UPDATE deployer.rollouts SET {writes} = 'later'"))
        assert connection.scalar(read, {"id": rollout_id}) == "later"
    engine.dispose()


COMPARISON = """
INSERT INTO deployer.shadow_comparisons (comparison_id, rollout_id, at, champion, candidate)
VALUES (gen_random_uuid(), :id, now(), '{}', '{}')
"""


def test_prompts_of_a_shadow_under_way_at_the_upgrade_go_on_counting_as_users(database_url: str):
    config = Config(ROOT / "alembic.ini")
    config.attributes["url"] = database_url
    command.downgrade(config, "0235")
    engine = create_engine(database_url)
    with engine.begin() as connection:
        rollout_id = connection.scalar(text(ROLLOUT.format(column="summary")))
        connection.execute(text("UPDATE deployer.rollouts SET shadow_started_at = now()"))
        connection.execute(text(COMPARISON), [{"id": rollout_id}] * 30)
    command.upgrade(config, "head")
    with engine.connect() as connection:
        groups = list(connection.scalars(text("SELECT user_group FROM deployer.shadow_comparisons")))
    engine.dispose()
    assert (len(groups), len(set(groups))) == (30, 30)
    assert all(0 <= group < 1_000 for group in groups)
