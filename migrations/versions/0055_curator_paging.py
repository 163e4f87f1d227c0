"""Schema curator: pages of pairs, and which events personal data was taken out of."""

import sqlalchemy as sa
from alembic import op

revision = "0055"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_pairs_created_at", "pairs", ["created_at"], unique=False, schema="curator")
    for table in ("interactions", "feedback"):
        redacted: sa.Column[bool] = sa.Column("redacted", sa.Boolean(), server_default=sa.text("false"), nullable=False)
        op.add_column(table, redacted, schema="curator")


def downgrade() -> None:
    for table in ("feedback", "interactions"):
        op.drop_column(table, "redacted", schema="curator")
    op.drop_index("ix_pairs_created_at", table_name="pairs", schema="curator")
