"""Storm episodes, a recorded input of every window that they hold."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of episodes."""
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "storm_episodes",
        sa.Column("fleet", sa.String(64), primary_key=True, nullable=False),
        sa.Column("window_start", number, primary_key=True, nullable=False),
        sa.Column("window_end", number, nullable=True),
        sa.Column("cause", sa.String(512), nullable=False),
        sa.Column("started_by", sa.String(64), nullable=False),
        sa.Column("ended_by", sa.String(64), nullable=False),
        sa.Column("recorded_at", number, nullable=False),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("storm_episodes")
