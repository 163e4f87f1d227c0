"""Schema deployer: what makes a vote is kept as events, so that a retraction, a rating or a complaint counts too.

`heard_thumbs` stays for the release before; its rows are copied in batches, as thumbs of the user who was answered, and
what that release still hears by a trigger.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0070"
down_revision = "0062"
branch_labels = None
depends_on = None

COPIED = """
    event_id, '', interaction_id, '', jsonb_build_object(
        'type', 'FeedbackReceived', 'event_id', event_id, 'interaction_id', interaction_id, 'key_id', '',
        'received_at', to_char(heard_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'feedback', jsonb_build_object('type', 'thumb', 'value', CASE WHEN up THEN 'up' ELSE 'down' END)
    ), heard_at
"""
INSERT = "INSERT INTO deployer.feedback (event_id, key_id, interaction_id, content_hash, event, heard_at)"
BATCH = f"""
WITH batch AS (
    SELECT * FROM deployer.heard_thumbs WHERE event_id > '{{after}}' ORDER BY event_id LIMIT 20000
), copied AS ({INSERT} SELECT {COPIED} FROM batch ON CONFLICT DO NOTHING)
SELECT event_id FROM batch ORDER BY event_id DESC LIMIT 1
"""
FIRST = "00000000-0000-0000-0000-000000000000"
HEAR = f"""
CREATE OR REPLACE FUNCTION deployer.copy_heard_thumb() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    {INSERT} SELECT {COPIED} FROM (SELECT NEW.*) AS heard ON CONFLICT DO NOTHING;
    RETURN NEW;
END $$
"""
TRIGGER = """
CREATE OR REPLACE TRIGGER copy_heard_thumb AFTER INSERT ON deployer.heard_thumbs
FOR EACH ROW EXECUTE FUNCTION deployer.copy_heard_thumb()
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
        if_not_exists=True,
    )
    op.create_index("ix_feedback_interaction_id", "feedback", ["interaction_id"], schema="deployer", if_not_exists=True)
    op.execute(HEAR)
    op.execute(TRIGGER)
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS deployer.ix_served_interactions_user")  # of a try cut short
        op.create_index(
            "ix_served_interactions_user",
            "served_interactions",
            ["rollout_id", "user"],
            schema="deployer",
            postgresql_concurrently=True,
        )
        after: object = FIRST
        while after is not None:
            after = op.get_bind().exec_driver_sql(BATCH.format(after=after)).scalar()


def downgrade() -> None:
    op.execute("DROP TRIGGER IF EXISTS copy_heard_thumb ON deployer.heard_thumbs")
    op.execute("DROP FUNCTION IF EXISTS deployer.copy_heard_thumb()")
    op.drop_index("ix_served_interactions_user", "served_interactions", schema="deployer")
    op.drop_table("feedback", schema="deployer")
