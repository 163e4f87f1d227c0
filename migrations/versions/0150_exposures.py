"""Each user's outcome in each stage, and the limits that a rollout opened with."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0150"
down_revision = "0160"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rollouts", sa.Column("limits", JSONB(), nullable=True), schema="deployer")
    op.add_column("served_interactions", sa.Column("seconds", sa.Float(), nullable=True), schema="deployer")
    void: sa.Column[bool] = sa.Column("is_void", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    op.add_column("served_interactions", void, schema="deployer")
    op.create_table(
        "exposures",
        sa.Column("rollout_id", sa.Uuid(), nullable=False),
        sa.Column("stage", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=True),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("is_harmed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("failed", sa.Float(), server_default="0", nullable=False),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.CheckConstraint("arm IN ('champion', 'canary')", name=op.f("ck_exposures_arm")),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["deployer.rollouts.rollout_id"], name=op.f("fk_exposures_rollout_id_rollouts")
        ),
        sa.PrimaryKeyConstraint("rollout_id", "stage", "user", name=op.f("pk_exposures")),
        sa.UniqueConstraint("rollout_id", "stage", "sequence", name=op.f("uq_exposures_rollout_id_stage_sequence")),
        schema="deployer",
    )
    op.create_index(
        "ix_exposures_waiting",
        "exposures",
        ["rollout_id", "stage", "began_at"],
        schema="deployer",
        postgresql_where=sa.text("sequence IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("exposures", schema="deployer")
    op.drop_column("served_interactions", "is_void", schema="deployer")
    op.drop_column("served_interactions", "seconds", schema="deployer")
    op.drop_column("rollouts", "limits", schema="deployer")
