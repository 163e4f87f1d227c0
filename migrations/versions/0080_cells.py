"""Schema curator: cells around anchors, by embedding; prompts wait for theirs until a dataset is frozen.

The curator moves what is stored into new cells, in batches. What was in train or validation never comes into the gate.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0080"
down_revision = "0101"
branch_labels = None
depends_on = None

KEEP_OUT = """
CREATE OR REPLACE FUNCTION curator.keep_out_of_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'prompt % was in %: it may not come into the gate', OLD.prompt_hash, OLD.split
        USING ERRCODE = 'check_violation';
END $$
"""
TRIGGER = """
CREATE OR REPLACE TRIGGER keep_out_of_gate BEFORE UPDATE OF split ON curator.prompts
FOR EACH ROW WHEN (OLD.split IN ('train', 'validation') AND NEW.split = 'gate')
EXECUTE FUNCTION curator.keep_out_of_gate()
"""
BEFORE = "split IN ('train', 'validation', 'gate')"
AFTER = "split IN ('train', 'validation', 'gate', 'unplaced')"


def upgrade() -> None:
    _replace_check(AFTER)
    _add("cells", sa.Column("anchor", sa.Text()))
    _add("cells", sa.Column("cut", sa.Float()))
    _add("prompts", sa.Column("embedding", sa.LargeBinary()))
    _add("prompts", sa.Column("embedder", sa.Text()))
    _add("prompts", sa.Column("former_split", sa.Text()))
    op.execute(KEEP_OUT)
    op.execute(TRIGGER)
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE curator.cells VALIDATE CONSTRAINT ck_cells_split")
        for column in ("cell", "embedder"):
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS curator.ix_prompts_{column}")  # of a try that was cut short
            op.create_index(f"ix_prompts_{column}", "prompts", [column], schema="curator", postgresql_concurrently=True)


def downgrade() -> None:
    """Only while nothing waits for its cell: the release before knows no such prompt."""
    for column in ("embedder", "cell"):
        op.drop_index(f"ix_prompts_{column}", table_name="prompts", schema="curator")
    op.execute("DROP TRIGGER keep_out_of_gate ON curator.prompts")
    op.execute("DROP FUNCTION curator.keep_out_of_gate()")
    op.execute("DELETE FROM curator.cells WHERE cell = 'unplaced'")
    for column in ("former_split", "embedder", "embedding"):
        op.drop_column("prompts", column, schema="curator")
    for column in ("cut", "anchor"):
        op.drop_column("cells", column, schema="curator")
    _replace_check(BEFORE)
    op.execute("ALTER TABLE curator.cells VALIDATE CONSTRAINT ck_cells_split")


def _add(table: str, column: sa.Column[Any]) -> None:
    op.add_column(table, column, schema="curator", if_not_exists=True)


def _replace_check(condition: str) -> None:
    """Checks new rows at once; those that are there are checked without a lock that writers wait for."""
    op.drop_constraint("ck_cells_split", "cells", schema="curator", if_exists=True)
    op.create_check_constraint(op.f("ck_cells_split"), "cells", condition, schema="curator", postgresql_not_valid=True)
