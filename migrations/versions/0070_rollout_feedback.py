"""Schema deployer: what makes a vote is kept as events, so that a retraction, a rating or a complaint counts too.

`heard_thumbs` stays for the release before; its rows are copied, as thumbs of the user who was answered.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0070"
down_revision = "0062"
branch_labels = None
depends_on = None

COPY = """
INSERT INTO deployer.feedback (event_id, key_id, interaction_id, content_hash, event, heard_at)
SELECT event_id, '', interaction_id, '', jsonb_build_object(
    'type', 'FeedbackReceived', 'event_id', event_id, 'interaction_id', interaction_id, 'key_id', '',
    'received_at', to_char(heard_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'feedback', jsonb_build_object('type', 'thumb', 'value', CASE WHEN up THEN 'up' ELSE 'down' END)
), heard_at
FROM deployer.heard_thumbs
"""


def upgrade() -> None:
    op.create_table(
        "feedback",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("interaction_id", sa.Uuid(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("event", postgresql.JSONB(), nullable=False),
        sa.Column("heard_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "key_id", name="pk_feedback"),
        schema="deployer",
    )
    op.create_index("ix_feedback_interaction_id", "feedback", ["interaction_id"], schema="deployer")
    op.create_index("ix_served_interactions_user", "served_interactions", ["rollout_id", "user"], schema="deployer")
    op.execute(COPY)


def downgrade() -> None:
    op.drop_index("ix_served_interactions_user", "served_interactions", schema="deployer")
    op.drop_table("feedback", schema="deployer")
