"""How many windows of each stream were ever committed, for counters that outlive processes."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
COUNTER = "node_reports"


def upgrade() -> None:
    """Create the table, and the counter that lets one report at a time be added to the nodes' totals."""
    counters = sa.table("counters", sa.column("name"), sa.column("value"))
    op.bulk_insert(counters, [{"name": COUNTER, "value": 0}])
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "stream_totals",
        sa.Column("fleet", sa.String(64), primary_key=True, nullable=False),
        sa.Column("stream", sa.String(64), primary_key=True, nullable=False),
        sa.Column("kind", sa.String(16), primary_key=True, nullable=False),
        sa.Column("windows", number, nullable=False),
        sa.Column("began_at", number, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    counters = sa.table("counters", sa.column("name"))
    op.execute(sa.delete(counters).where(counters.c.name == COUNTER))
    op.drop_table("stream_totals")
