"""Schema curator: erasures, tombstones, what datasets hold, quarantine, and the order of what is derived."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("erasure_id", sa.Uuid(), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("certificate", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint("state IN ('running', 'done')", name=op.f("ck_erasures_state")),
        sa.PrimaryKeyConstraint("erasure_id", name=op.f("pk_erasures")),
        sa.UniqueConstraint("user", name=op.f("uq_erasures_user")),
        schema="curator",
    )
    op.create_table(
        "tombstones",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("erasure_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "kind", name=op.f("pk_tombstones")),
        schema="curator",
    )
    op.create_index("ix_tombstones_erasure_id", "tombstones", ["erasure_id"], schema="curator")
    op.create_table(
        "frozen_items",
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("prompt_hash", sa.Text(), nullable=False),
        sa.Column("evidence", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("interactions", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_frozen_items")),
        schema="curator",
    )
    for column in ("evidence", "interactions"):
        op.create_index(f"ix_frozen_items_{column}", "frozen_items", [column], schema="curator", postgresql_using="gin")
    op.create_table(
        "dataset_items",
        sa.Column("dataset_sha256", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("dataset_sha256", "item_id", name=op.f("pk_dataset_items")),
        schema="curator",
    )
    op.create_index("ix_dataset_items_item_id", "dataset_items", ["item_id"], schema="curator")
    op.create_table(
        "quarantine_decisions",
        sa.Column("decision_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("subject_kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint("decision IN ('release', 'reject')", name=op.f("ck_quarantine_decisions_decision")),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_quarantine_decisions")),
        schema="curator",
    )
    op.create_index(
        "ix_quarantine_decisions_subject", "quarantine_decisions", ["subject_kind", "subject_id"], schema="curator"
    )
    op.create_table(
        "quarantined",
        sa.Column("subject_kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("subject_kind", "subject_id", name=op.f("pk_quarantined")),
        schema="curator",
    )
    op.execute("CREATE SEQUENCE curator.derived_sequence")
    for table in ("pairs", "labels"):
        op.add_column(
            table,
            sa.Column(
                "sequence",
                sa.BigInteger(),
                server_default=sa.text("nextval('curator.derived_sequence')"),
                nullable=False,
            ),
            schema="curator",
        )
    op.add_column(
        "datasets", sa.Column("through_sequence", sa.BigInteger(), server_default="0", nullable=False), schema="curator"
    )
    op.add_column("datasets", sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True), schema="curator")
    op.add_column("datasets", sa.Column("replaced_by", sa.Text(), nullable=True), schema="curator")


def downgrade() -> None:
    for column in ("replaced_by", "erased_at", "through_sequence"):
        op.drop_column("datasets", column, schema="curator")
    for table in ("labels", "pairs"):
        op.drop_column(table, "sequence", schema="curator")
    op.execute("DROP SEQUENCE curator.derived_sequence")
    for table in (
        "quarantined",
        "quarantine_decisions",
        "dataset_items",
        "frozen_items",
        "tombstones",
        "erasures",
    ):
        op.drop_table(table, schema="curator")
