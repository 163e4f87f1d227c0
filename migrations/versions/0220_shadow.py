"""Schema deployer: since when a candidate is asked in secret, and what its answers were like beside the champion's."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0220"
down_revision = "0230"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("rollouts", sa.Column("shadow_started_at", TIME, nullable=True), schema="deployer")
    op.create_table(
        "shadow_comparisons",
        sa.Column("comparison_id", sa.Uuid(), nullable=False),
        sa.Column("rollout_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("champion", JSONB(), nullable=False),
        sa.Column("candidate", JSONB(), nullable=False),
        sa.Column("preference", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["deployer.rollouts.rollout_id"], name=op.f("fk_shadow_comparisons_rollout_id_rollouts")
        ),
        sa.PrimaryKeyConstraint("comparison_id", name=op.f("pk_shadow_comparisons")),
        sa.UniqueConstraint("rollout_id", "sequence", name=op.f("uq_shadow_comparisons_rollout_id_sequence")),
        schema="deployer",
    )


def downgrade() -> None:
    op.drop_table("shadow_comparisons", schema="deployer")
    op.drop_column("rollouts", "shadow_started_at", schema="deployer")
