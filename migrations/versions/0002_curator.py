"""Schema curator."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SCHEMA curator")
    op.create_table(
        "cells",
        sa.Column("cell", sa.Text(), nullable=False),
        sa.Column("split", sa.Text(), nullable=False),
        sa.CheckConstraint("split IN ('train', 'validation', 'gate')", name=op.f("ck_cells_split")),
        sa.PrimaryKeyConstraint("cell", name=op.f("pk_cells")),
        sa.UniqueConstraint("cell", "split", name=op.f("uq_cells_cell_split")),
        schema="curator",
    )
    op.create_table(
        "conflicting_events",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("event", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "content_hash", name=op.f("pk_conflicting_events")),
        schema="curator",
    )
    op.create_table(
        "datasets",
        sa.Column("dataset_sha256", sa.Text(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("parent_sha256", sa.Text(), nullable=True),
        sa.Column("manifest", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("dataset_sha256", name=op.f("pk_datasets")),
        schema="curator",
    )
    op.create_table(
        "detectors",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_detectors")),
        schema="curator",
    )
    op.create_table(
        "feedback",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("interaction_id", sa.Uuid(), nullable=False),
        sa.Column("other_interaction_id", sa.Uuid(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=True),
        sa.Column("happened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("event", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint("state IN ('parked', 'attached', 'expired')", name=op.f("ck_feedback_state")),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_feedback")),
        schema="curator",
    )
    op.create_index("ix_feedback_interaction_id", "feedback", ["interaction_id"], unique=False, schema="curator")
    op.create_index(
        "ix_feedback_other_interaction_id", "feedback", ["other_interaction_id"], unique=False, schema="curator"
    )
    op.create_index("ix_feedback_state", "feedback", ["state"], unique=False, schema="curator")
    op.create_table(
        "loop_switch",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_loop_switch_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_loop_switch")),
        schema="curator",
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
        schema="curator",
    )
    op.create_table(
        "retrain_requests",
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("dataset_sha256", sa.Text(), nullable=False),
        sa.Column("parent_version", sa.Text(), nullable=False),
        sa.Column("reasons", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("candidate_version", sa.Text(), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("announced_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('open', 'closed')", name=op.f("ck_retrain_requests_state")),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_retrain_requests")),
        schema="curator",
    )
    op.create_index(
        "uq_retrain_requests_one_open",
        "retrain_requests",
        ["state"],
        unique=True,
        schema="curator",
        postgresql_where="state = 'open'",
    )
    op.create_table(
        "routing",
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("champion_version", sa.Text(), nullable=False),
        sa.Column("champion_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("table", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("family", name=op.f("pk_routing")),
        schema="curator",
    )
    op.create_table(
        "prompts",
        sa.Column("prompt_hash", sa.Text(), nullable=False),
        sa.Column("messages", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("cell", sa.Text(), nullable=False),
        sa.Column("split", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["cell", "split"], ["curator.cells.cell", "curator.cells.split"], name=op.f("fk_prompts_cell_split")
        ),
        sa.PrimaryKeyConstraint("prompt_hash", name=op.f("pk_prompts")),
        schema="curator",
    )
    op.create_index("ix_prompts_split", "prompts", ["split"], unique=False, schema="curator")
    op.create_table(
        "interactions",
        sa.Column("interaction_id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("prompt_hash", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("served_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user", sa.Text(), nullable=True),
        sa.Column("conversation_id", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("event", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["prompt_hash"], ["curator.prompts.prompt_hash"], name=op.f("fk_interactions_prompt_hash")
        ),
        sa.PrimaryKeyConstraint("interaction_id", name=op.f("pk_interactions")),
        schema="curator",
    )
    op.create_index("ix_interactions_prompt_hash", "interactions", ["prompt_hash"], unique=False, schema="curator")
    op.create_table(
        "labels",
        sa.Column("label_id", sa.Text(), nullable=False),
        sa.Column("prompt_hash", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("interaction_id", sa.Uuid(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("desirable", sa.Boolean(), nullable=False),
        sa.Column("evidence", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("epsilon", sa.Double(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["prompt_hash"], ["curator.prompts.prompt_hash"], name=op.f("fk_labels_prompt_hash")),
        sa.PrimaryKeyConstraint("label_id", name=op.f("pk_labels")),
        schema="curator",
    )
    op.create_index("ix_labels_prompt_hash", "labels", ["prompt_hash"], unique=False, schema="curator")
    op.create_table(
        "pairs",
        sa.Column("pair_id", sa.Text(), nullable=False),
        sa.Column("prompt_hash", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("chosen", sa.Text(), nullable=False),
        sa.Column("rejected", sa.Text(), nullable=False),
        sa.Column("chosen_interaction_id", sa.Uuid(), nullable=True),
        sa.Column("rejected_interaction_id", sa.Uuid(), nullable=False),
        sa.Column("chosen_version", sa.Text(), nullable=True),
        sa.Column("rejected_version", sa.Text(), nullable=False),
        sa.Column("evidence", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("epsilon", sa.Double(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("state IN ('active', 'contested', 'refused')", name=op.f("ck_pairs_state")),
        sa.CheckConstraint("epsilon >= 0 AND epsilon <= 0.5", name=op.f("ck_pairs_epsilon")),
        sa.ForeignKeyConstraint(["prompt_hash"], ["curator.prompts.prompt_hash"], name=op.f("fk_pairs_prompt_hash")),
        sa.PrimaryKeyConstraint("pair_id", name=op.f("pk_pairs")),
        schema="curator",
    )
    op.create_index("ix_pairs_prompt_hash", "pairs", ["prompt_hash"], unique=False, schema="curator")


def downgrade() -> None:
    op.drop_index("ix_pairs_prompt_hash", table_name="pairs", schema="curator")
    op.drop_table("pairs", schema="curator")
    op.drop_index("ix_labels_prompt_hash", table_name="labels", schema="curator")
    op.drop_table("labels", schema="curator")
    op.drop_index("ix_interactions_prompt_hash", table_name="interactions", schema="curator")
    op.drop_table("interactions", schema="curator")
    op.drop_index("ix_prompts_split", table_name="prompts", schema="curator")
    op.drop_table("prompts", schema="curator")
    op.drop_table("routing", schema="curator")
    op.drop_index(
        "uq_retrain_requests_one_open",
        table_name="retrain_requests",
        schema="curator",
        postgresql_where="state = 'open'",
    )
    op.drop_table("retrain_requests", schema="curator")
    op.drop_table("outbox", schema="curator")
    op.drop_table("loop_switch", schema="curator")
    op.drop_index("ix_feedback_state", table_name="feedback", schema="curator")
    op.drop_index("ix_feedback_other_interaction_id", table_name="feedback", schema="curator")
    op.drop_index("ix_feedback_interaction_id", table_name="feedback", schema="curator")
    op.drop_table("feedback", schema="curator")
    op.drop_table("detectors", schema="curator")
    op.drop_table("datasets", schema="curator")
    op.drop_table("conflicting_events", schema="curator")
    op.drop_table("cells", schema="curator")
    op.execute("DROP SCHEMA curator")
