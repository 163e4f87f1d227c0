"""Schema access: which secrets users are hashed with, by fingerprint."""

import sqlalchemy as sa
from alembic import op

revision = "0135"
down_revision = "0102"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "user_hash_generations",
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("starts_anew", sa.Boolean(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("generation", name=op.f("pk_user_hash_generations")),
        schema="access",
    )


def downgrade() -> None:
    op.drop_table("user_hash_generations", schema="access")
