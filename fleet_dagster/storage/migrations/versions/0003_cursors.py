"""Cursors of the streams' consumers, and what expired before they had read it."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create both tables."""
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "cursors",
        sa.Column("fleet", sa.String(64), primary_key=True, nullable=False),
        sa.Column("stream", sa.String(64), primary_key=True, nullable=False),
        sa.Column("consumer", sa.String(64), primary_key=True, nullable=False),
        sa.Column("position", number, nullable=False),
        sa.Column("part_seq", number, nullable=False),
        sa.Column("part_until", number, nullable=False),
        sa.Column("created_at", number, nullable=False),
        sa.Column("moved_at", number, nullable=False),
    )
    op.create_table(
        "missed",
        sa.Column("fleet", sa.String(64), primary_key=True, nullable=False),
        sa.Column("stream", sa.String(64), primary_key=True, nullable=False),
        sa.Column("consumer", sa.String(64), primary_key=True, nullable=False),
        sa.Column("window_start", number, primary_key=True, nullable=False),
        sa.Column("window_end", number, nullable=False),
        sa.Column("n_entries", number, nullable=False),
        sa.Column("recorded_at", number, nullable=False),
    )


def downgrade() -> None:
    """Drop both."""
    op.drop_table("missed")
    op.drop_table("cursors")
