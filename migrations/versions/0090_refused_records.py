"""Every schema with an outbox: a table beside it for the records that the broker will never take."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0090"
down_revision = "0073"
branch_labels = None
depends_on = None

SCHEMAS = ("curator", "trainer", "evaluator", "deployer")


def upgrade() -> None:
    for schema in SCHEMAS:
        op.create_table(
            "refused_records",
            sa.Column("sequence", sa.BigInteger(), sa.Identity(), nullable=False),
            sa.Column("topic", sa.Text(), nullable=False),
            sa.Column("key", sa.LargeBinary(), nullable=False),
            sa.Column("value", sa.LargeBinary(), nullable=False),
            sa.Column("headers", JSONB(), nullable=False),
            sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
            sa.Column("refused_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
            sa.Column("reason", sa.Text(), nullable=False),
            sa.PrimaryKeyConstraint("sequence", name=op.f("pk_refused_records")),
            schema=schema,
        )


def downgrade() -> None:
    for schema in SCHEMAS:
        op.drop_table("refused_records", schema=schema)
