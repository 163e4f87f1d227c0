"""Schemas curator and trainer: who asked for a run."""

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0055"
branch_labels = None
depends_on = None

TABLES = (("curator", "retrain_requests"), ("trainer", "runs"))


def upgrade() -> None:
    for schema, table in TABLES:
        requested_by = sa.Column("requested_by", sa.Text(), server_default="monitor", nullable=False)
        op.add_column(table, requested_by, schema=schema)


def downgrade() -> None:
    for schema, table in TABLES:
        op.drop_column(table, "requested_by", schema=schema)
