"""Schema deployer."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SCHEMA deployer")
    op.create_table(
        "audit",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("previous_hash", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit")),
        schema="deployer",
    )
    op.create_table(
        "heard_thumbs",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("interaction_id", sa.Uuid(), nullable=False),
        sa.Column("up", sa.Boolean(), nullable=False),
        sa.Column("heard_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_heard_thumbs")),
        schema="deployer",
    )
    op.create_index(
        "ix_heard_thumbs_interaction_id", "heard_thumbs", ["interaction_id"], unique=False, schema="deployer"
    )
    op.create_table(
        "outbox",
        sa.Column("sequence", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_outbox")),
        schema="deployer",
    )
    op.create_table(
        "rollouts",
        sa.Column("rollout_id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("evaluation", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("candidate_version", sa.Text(), nullable=False),
        sa.Column("champion_version", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("paused_from", sa.Text(), nullable=True),
        sa.Column("stage", sa.Integer(), nullable=True),
        sa.Column("stage_started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stages", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("evidence", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("approval_hash", sa.Text(), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=True),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('awaiting_approval', 'canary', 'paused', 'champion', 'rejected', 'aborted', 'rolled_back')",
            name=op.f("ck_rollouts_state"),
        ),
        sa.PrimaryKeyConstraint("rollout_id", name=op.f("pk_rollouts")),
        sa.UniqueConstraint("request_id", name=op.f("uq_rollouts_request_id")),
        schema="deployer",
    )
    op.create_index("ix_rollouts_state", "rollouts", ["state"], unique=False, schema="deployer")
    op.create_table(
        "routing",
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("table", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("family", "generation", name=op.f("pk_routing")),
        schema="deployer",
    )
    op.create_table(
        "served_interactions",
        sa.Column("interaction_id", sa.Uuid(), nullable=False),
        sa.Column("rollout_id", sa.Uuid(), nullable=True),
        sa.Column("user", sa.Text(), nullable=True),
        sa.Column("intended_version", sa.Text(), nullable=True),
        sa.Column("served_version", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("served_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("interaction_id", name=op.f("pk_served_interactions")),
        schema="deployer",
    )
    op.create_index(
        "ix_served_interactions_latest",
        "served_interactions",
        ["rollout_id", "intended_version", "served_at"],
        unique=False,
        schema="deployer",
    )
    op.create_table(
        "votes",
        sa.Column("sequence", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("rollout_id", sa.Uuid(), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("up", sa.Boolean(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("arm IN ('champion', 'canary')", name=op.f("ck_votes_arm")),
        sa.ForeignKeyConstraint(["rollout_id"], ["deployer.rollouts.rollout_id"], name=op.f("fk_votes_rollout_id")),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_votes")),
        sa.UniqueConstraint("rollout_id", "user", name=op.f("uq_votes_rollout_id_user")),
        schema="deployer",
    )


def downgrade() -> None:
    op.drop_table("votes", schema="deployer")
    op.drop_index("ix_served_interactions_latest", table_name="served_interactions", schema="deployer")
    op.drop_table("served_interactions", schema="deployer")
    op.drop_table("routing", schema="deployer")
    op.drop_index("ix_rollouts_state", table_name="rollouts", schema="deployer")
    op.drop_table("rollouts", schema="deployer")
    op.drop_table("outbox", schema="deployer")
    op.drop_index("ix_heard_thumbs_interaction_id", table_name="heard_thumbs", schema="deployer")
    op.drop_table("heard_thumbs", schema="deployer")
    op.drop_table("audit", schema="deployer")
    op.execute("DROP SCHEMA deployer")
