"""Schema curator: conversations in canonical form, with their tools.

The curator converts what is stored already, in batches.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0071"
down_revision = "0070"
branch_labels = None
depends_on = None


def upgrade() -> None:
    tools = sa.Column("tools", postgresql.JSONB(astext_type=sa.Text()), nullable=True)
    op.add_column("prompts", tools, schema="curator", if_not_exists=True)
    form = sa.Column("form", sa.SmallInteger(), server_default="0", nullable=False)
    op.add_column("prompts", form, schema="curator", if_not_exists=True)
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS curator.ix_prompts_old_form")  # of a try that was cut short
        op.create_index(
            "ix_prompts_old_form",
            "prompts",
            ["prompt_hash"],
            unique=False,
            schema="curator",
            postgresql_where=sa.text("form = 0"),
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    op.drop_index("ix_prompts_old_form", table_name="prompts", schema="curator")
    op.drop_column("prompts", "form", schema="curator")
    op.drop_column("prompts", "tools", schema="curator")
