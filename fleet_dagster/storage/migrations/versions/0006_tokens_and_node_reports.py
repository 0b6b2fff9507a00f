"""Tokens for people and programs, what operators did, and what every node reports of its work."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "tokens",
        sa.Column("token_id", sa.String(16), primary_key=True, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("fleet", sa.String(64), nullable=True),
        sa.Column("created_at", number, nullable=False),
        sa.Column("expires_at", number, nullable=True),
        sa.Column("revoked_at", number, nullable=True),
    )
    op.create_table(
        "operator_actions",
        sa.Column("number", number, primary_key=True, autoincrement=True, nullable=False),
        sa.Column("fleet", sa.String(64), nullable=False),
        sa.Column("done_at", number, nullable=False),
        sa.Column("token_id", sa.String(16), nullable=False),
        sa.Column("done_by", sa.String(128), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(256), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Index("ix_operator_actions_fleet", "fleet", "number"),
    )
    op.create_table(
        "node_reports",
        sa.Column("number", number, primary_key=True, autoincrement=True, nullable=False),
        sa.Column("fleet", sa.String(64), nullable=False),
        sa.Column("node", sa.String(64), nullable=False),
        sa.Column("recorded_at", number, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("span_start", number, nullable=False),
        sa.Column("span_end", number, nullable=False),
        sa.Column("windows", sa.Integer, nullable=False),
        sa.Column("rows_in", number, nullable=False),
        sa.Column("rows_out", number, nullable=False),
        sa.Column("shed", number, nullable=False),
        sa.Column("quarantined", number, nullable=False),
        sa.Column("duration_us", number, nullable=False),
        sa.Column("lag_us", number, nullable=True),
        sa.Column("watermark", number, nullable=True),
        sa.Column("anomaly_score", sa.Float, nullable=True),
        sa.Column("breaches", sa.Text, nullable=False),
        sa.Index("ix_node_reports_node", "fleet", "node", "number"),
    )
    op.create_table(
        "node_totals",
        sa.Column("fleet", sa.String(64), primary_key=True, nullable=False),
        sa.Column("node", sa.String(64), primary_key=True, nullable=False),
        sa.Column("reports", number, nullable=False),
        sa.Column("windows", number, nullable=False),
        sa.Column("rows_in", number, nullable=False),
        sa.Column("rows_out", number, nullable=False),
        sa.Column("shed", number, nullable=False),
        sa.Column("quarantined", number, nullable=False),
        sa.Column("duration_us", number, nullable=False),
        sa.Column("breaches", number, nullable=False),
        sa.Column("durations", sa.Text, nullable=False),
        sa.Column("began_at", number, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for name in ("node_totals", "node_reports", "operator_actions", "tokens"):
        op.drop_table(name)
