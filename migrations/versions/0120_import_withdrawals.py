"""Schema curator: which imports were taken back."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0120"
down_revision = "0100"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "import_withdrawals",
        sa.Column("withdrawal_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("certificate", JSONB(), nullable=True),
        sa.CheckConstraint("state IN ('running', 'done')", name=op.f("ck_import_withdrawals_state")),
        sa.PrimaryKeyConstraint("withdrawal_id", name=op.f("pk_import_withdrawals")),
        sa.UniqueConstraint("name", name=op.f("uq_import_withdrawals_name")),
        schema="curator",
    )


def downgrade() -> None:
    op.drop_table("import_withdrawals", schema="curator")
