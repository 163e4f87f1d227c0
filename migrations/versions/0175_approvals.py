"""Schema deployer: approvals of several admins, approval policies, notices to webhooks, and what aliases name."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0175"
down_revision = "0200"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "approvals",
        sa.Column("rollout_id", sa.Uuid(), nullable=False),
        sa.Column("approver_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("approval_hash", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["deployer.rollouts.rollout_id"], name=op.f("fk_approvals_rollout_id_rollouts")
        ),
        sa.PrimaryKeyConstraint("rollout_id", "approver_id", name=op.f("pk_approvals")),
        schema="deployer",
    )
    op.create_table(
        "approval_policies",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("policy", JSONB(), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("set_by_id", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("audited_as", sa.BigInteger(), nullable=False),
        sa.Column("signature", JSONB(), nullable=True),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_approval_policies")),
        schema="deployer",
    )
    _create_notices()
    op.create_table(
        "aliases",
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("alias", name=op.f("pk_aliases")),
        schema="deployer",
    )
    op.create_table(
        "registrations",
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("tags", JSONB(), nullable=False),
        sa.Column("seen_at", TIME, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_registrations")),
        schema="deployer",
    )


def _create_notices() -> None:
    op.create_table(
        "notices",
        sa.Column("notice_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("rollout_id", sa.Uuid(), nullable=False),
        sa.Column("body", JSONB(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", TIME, nullable=False),
        sa.Column("last_result", sa.Text(), nullable=True),
        sa.Column("delivered_at", TIME, nullable=True),
        sa.Column("given_up_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("notice_id", name=op.f("pk_notices")),
        sa.UniqueConstraint("key", "target", name=op.f("uq_notices_key_target")),
        schema="deployer",
    )
    op.create_index(
        "ix_notices_due",
        "notices",
        ["next_attempt_at"],
        schema="deployer",
        postgresql_where=sa.text("delivered_at IS NULL AND given_up_at IS NULL"),
    )


def downgrade() -> None:
    for table in ("registrations", "aliases", "notices", "approval_policies", "approvals"):
        op.drop_table(table, schema="deployer")
