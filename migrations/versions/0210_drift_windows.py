"""Schema curator: votes in a narrow table of their own, what each window of the drift monitor showed, and the indexes
that looks, sweeps, lineage and erasures need once there are millions of rows.

Votes are kept by triggers, in the transaction of the batch: also while the release before writes evidence.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0210"
down_revision = "0170"
branch_labels = None
depends_on = None

SELECTED = """
    SELECT changed.event_id, coalesce(changed."user", interactions."user"), model_version, served_at, received_at,
           changed.event->'feedback'->>'value'
    FROM {changed} AS changed JOIN curator.interactions USING (interaction_id)
    WHERE changed.state = 'attached' AND changed.type IN ('thumb', 'rating')
        AND changed.event->'feedback'->>'value' IS NOT NULL
"""
INSERT = f"""
    INSERT INTO curator.votes (event_id, "user", model_version, served_at, received_at, value)
    {SELECTED}
    ON CONFLICT (event_id) DO UPDATE SET "user" = excluded."user", model_version = excluded.model_version,
        served_at = excluded.served_at, received_at = excluded.received_at, value = excluded.value
"""
KEEP = f"""
CREATE OR REPLACE FUNCTION curator.keep_votes() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM curator.votes USING changed WHERE votes.event_id = changed.event_id
            AND (changed.state <> 'attached' OR changed.type NOT IN ('thumb', 'rating'));
    END IF;
    {INSERT.format(changed="changed")};
    RETURN NULL;
END $$
"""
TRIGGERS = """
CREATE OR REPLACE TRIGGER keep_votes_{event} AFTER {event} ON curator.feedback
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION curator.keep_votes()
"""
FIRST = "00000000-0000-0000-0000-000000000000"
BATCH = f"""
WITH batch AS (
    SELECT * FROM curator.feedback WHERE event_id > '{{after}}' ORDER BY event_id LIMIT 20000 FOR KEY SHARE
), kept AS (
    INSERT INTO curator.votes (event_id, "user", model_version, served_at, received_at, value)
    {SELECTED.format(changed="batch")} ON CONFLICT DO NOTHING
)
SELECT event_id FROM batch ORDER BY event_id DESC LIMIT 1
"""
INDEXES = (
    ("interactions", "served_at", ["served_at"], None),
    ("interactions", "model_version", ["model_version", "served_at"], None),
    ("interactions", "user", ["user"], '"user" IS NOT NULL'),
    ("feedback", "received_at", ["received_at"], None),
    ("feedback", "user", ["user"], '"user" IS NOT NULL'),
    ("pairs", "sequence", ["sequence"], None),
    ("labels", "sequence", ["sequence"], None),
)


def upgrade() -> None:
    op.create_table(
        "votes",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("user", sa.Text(), nullable=True),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("served_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_votes")),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["curator.feedback.event_id"],
            name=op.f("fk_votes_event_id_feedback"),
            ondelete="CASCADE",
            onupdate="CASCADE",
        ),
        schema="curator",
        if_not_exists=True,
    )
    columns = ["model_version", "received_at"]
    op.create_index("ix_votes_model_version", "votes", columns, schema="curator", if_not_exists=True)
    op.create_index(
        "ix_votes_user",
        "votes",
        ["user"],
        schema="curator",
        if_not_exists=True,
        postgresql_where=sa.text('"user" IS NOT NULL'),
    )
    op.create_table(
        "drift_windows",
        sa.Column("detector", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("inputs", JSONB(), nullable=False),
        sa.Column("e_value", sa.Double(), nullable=True),
        sa.Column("evidence", sa.Double(), nullable=True),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("explanation", JSONB(), nullable=True),
        sa.PrimaryKeyConstraint("detector", "model_version", "began_at", name=op.f("pk_drift_windows")),
        schema="curator",
        if_not_exists=True,
    )
    op.execute(KEEP)
    for event in ("INSERT", "UPDATE"):
        op.execute(TRIGGERS.format(event=event.lower()))
    with op.get_context().autocommit_block():
        for table, name, columns, where in INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS curator.ix_{table}_{name}")  # of a try that was cut short
            op.create_index(
                f"ix_{table}_{name}",
                table,
                columns,
                schema="curator",
                postgresql_concurrently=True,
                postgresql_where=sa.text(where) if where else None,
            )
        after: object = FIRST
        while after is not None:
            after = op.get_bind().exec_driver_sql(BATCH.format(after=after)).scalar()


def downgrade() -> None:
    for event in ("update", "insert"):
        op.execute(f"DROP TRIGGER IF EXISTS keep_votes_{event} ON curator.feedback")
    op.execute("DROP FUNCTION IF EXISTS curator.keep_votes()")
    for table, name, _, _ in reversed(INDEXES):
        op.drop_index(f"ix_{table}_{name}", table_name=table, schema="curator")
    op.drop_table("drift_windows", schema="curator")
    op.drop_table("votes", schema="curator")
