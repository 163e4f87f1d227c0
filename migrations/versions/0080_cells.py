"""Schema curator: cells around anchors, by embedding; prompts wait for theirs until a dataset is frozen.

The curator moves what is stored into new cells, in batches. What was in train or validation never comes into the gate.
"""

import sqlalchemy as sa
from alembic import op

revision = "0080"
down_revision = "0101"
branch_labels = None
depends_on = None

KEEP_OUT = """
CREATE FUNCTION curator.keep_out_of_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'prompt % was in %: it may not come into the gate', OLD.prompt_hash, OLD.split
        USING ERRCODE = 'check_violation';
END $$
"""
TRIGGER = """
CREATE TRIGGER keep_out_of_gate BEFORE UPDATE OF split ON curator.prompts
FOR EACH ROW WHEN (OLD.split IN ('train', 'validation') AND NEW.split = 'gate')
EXECUTE FUNCTION curator.keep_out_of_gate()
"""
BEFORE = "split IN ('train', 'validation', 'gate')"
AFTER = "split IN ('train', 'validation', 'gate', 'unplaced')"


def upgrade() -> None:
    _replace_check(AFTER)
    op.add_column("cells", sa.Column("anchor", sa.Text()), schema="curator")
    op.add_column("cells", sa.Column("cut", sa.Float()), schema="curator")
    op.add_column("prompts", sa.Column("embedding", sa.LargeBinary()), schema="curator")
    op.add_column("prompts", sa.Column("embedder", sa.Text()), schema="curator")
    op.add_column("prompts", sa.Column("former_split", sa.Text()), schema="curator")
    op.execute(KEEP_OUT)
    op.execute(TRIGGER)
    with op.get_context().autocommit_block():
        for column in ("cell", "embedder"):
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


def _replace_check(condition: str) -> None:
    op.drop_constraint("ck_cells_split", "cells", schema="curator")
    op.create_check_constraint(op.f("ck_cells_split"), "cells", condition, schema="curator")
