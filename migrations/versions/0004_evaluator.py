"""Schema evaluator."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SCHEMA evaluator")
    op.create_table(
        "evaluations",
        sa.Column("evaluation_id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("candidate_version", sa.Text(), nullable=False),
        sa.Column("champion_version", sa.Text(), nullable=False),
        sa.Column("training", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("claimed_by", sa.Uuid(), nullable=True),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("progress", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("generation", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("report_sha256", sa.Text(), nullable=True),
        sa.Column("report_uri", sa.Text(), nullable=True),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("announced_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("announcements", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint("state IN ('generating', 'voting', 'completed')", name=op.f("ck_evaluations_state")),
        sa.PrimaryKeyConstraint("evaluation_id", name=op.f("pk_evaluations")),
        sa.UniqueConstraint("request_id", name=op.f("uq_evaluations_request_id")),
        schema="evaluator",
    )
    op.create_index("ix_evaluations_state", "evaluations", ["state"], unique=False, schema="evaluator")
    op.create_table(
        "outbox",
        sa.Column("sequence", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_outbox")),
        schema="evaluator",
    )
    op.create_table(
        "comparisons",
        sa.Column("comparison_id", sa.Uuid(), nullable=False),
        sa.Column("evaluation_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("prompt_hash", sa.Text(), nullable=False),
        sa.Column("messages", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("left_answer", sa.Text(), nullable=False),
        sa.Column("right_answer", sa.Text(), nullable=False),
        sa.Column("candidate_is_left", sa.Boolean(), nullable=False),
        sa.Column("offered_to", sa.Text(), nullable=True),
        sa.Column("offered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("vote", sa.Text(), nullable=True),
        sa.Column("voter", sa.Text(), nullable=True),
        sa.Column("voted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("vote IS NULL OR vote IN ('left', 'right', 'tie')", name=op.f("ck_comparisons_vote")),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluator.evaluations.evaluation_id"], name=op.f("fk_comparisons_evaluation_id")
        ),
        sa.PrimaryKeyConstraint("comparison_id", name=op.f("pk_comparisons")),
        sa.UniqueConstraint(
            "evaluation_id",
            "prompt_hash",
            "candidate_is_left",
            name=op.f("uq_comparisons_evaluation_id_prompt_hash_candidate_is_left"),
        ),
        schema="evaluator",
    )
    op.create_index(
        "ix_comparisons_waiting",
        "comparisons",
        ["evaluation_id", "position"],
        unique=False,
        schema="evaluator",
        postgresql_where="vote IS NULL",
    )


def downgrade() -> None:
    op.drop_index(
        "ix_comparisons_waiting", table_name="comparisons", schema="evaluator", postgresql_where="vote IS NULL"
    )
    op.drop_table("comparisons", schema="evaluator")
    op.drop_table("outbox", schema="evaluator")
    op.drop_index("ix_evaluations_state", table_name="evaluations", schema="evaluator")
    op.drop_table("evaluations", schema="evaluator")
    op.execute("DROP SCHEMA evaluator")
