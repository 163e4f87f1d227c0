"""Schema evaluator: a request of several recipes has one evaluation of several candidates; audits of the champion.

The release before knows one candidate and leaves `candidate_version` empty: its two comparisons of a prompt are as
unique as they were.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0225"
down_revision = "0210"
branch_labels = None
depends_on = None

KIND = "ck_evaluations_kind"
OLD = "uq_comparisons_evaluation_id_prompt_hash_candidate_is_left"
NEW = "uq_comparisons_sides"
COLUMNS = ["evaluation_id", "candidate_version", "prompt_hash", "candidate_is_left"]
OLD_COLUMNS = ["evaluation_id", "prompt_hash", "candidate_is_left"]


def upgrade() -> None:
    op.add_column(
        "evaluations",
        sa.Column("entrants", postgresql.JSONB(), server_default="{}", nullable=False),
        schema="evaluator",
        if_not_exists=True,
    )
    op.add_column(
        "evaluations",
        sa.Column("kind", sa.Text(), server_default="candidate", nullable=False),
        schema="evaluator",
        if_not_exists=True,
    )
    op.execute(f"ALTER TABLE evaluator.evaluations DROP CONSTRAINT IF EXISTS {KIND}")
    op.create_check_constraint(op.f(KIND), "evaluations", "kind IN ('candidate', 'audit')", schema="evaluator")
    op.add_column(
        "comparisons",
        sa.Column("candidate_version", sa.Text(), server_default="", nullable=False),
        schema="evaluator",
        if_not_exists=True,
    )
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS evaluator.{NEW}")  # of a try that was cut short
        op.create_index(NEW, "comparisons", COLUMNS, unique=True, schema="evaluator", postgresql_concurrently=True)
    op.execute(f"ALTER TABLE evaluator.comparisons ADD CONSTRAINT {NEW} UNIQUE USING INDEX {NEW}")
    op.drop_constraint(op.f(OLD), "comparisons", schema="evaluator")


def downgrade() -> None:
    op.execute("DELETE FROM evaluator.comparisons WHERE candidate_version <> ''")
    op.create_unique_constraint(op.f(OLD), "comparisons", OLD_COLUMNS, schema="evaluator")
    op.drop_constraint(NEW, "comparisons", schema="evaluator")
    op.drop_column("comparisons", "candidate_version", schema="evaluator")
    op.drop_constraint(op.f(KIND), "evaluations", schema="evaluator")
    op.execute(
        "DELETE FROM evaluator.comparisons USING evaluator.evaluations"
        " WHERE comparisons.evaluation_id = evaluations.evaluation_id AND kind = 'audit'"
    )
    op.execute("DELETE FROM evaluator.evaluations WHERE kind = 'audit'")
    for name in ("kind", "entrants"):
        op.drop_column("evaluations", name, schema="evaluator")
