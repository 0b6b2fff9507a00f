"""Alerts, how far their rules have been judged, messages and silences."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COUNTERS = ("alerts", "notifications", "silences")


def upgrade() -> None:
    """Create the tables, and the counters that number their rows."""
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "alerts",
        sa.Column("alert_id", number, primary_key=True, autoincrement=False, nullable=False),
        sa.Column("fleet", sa.String(64), nullable=False),
        sa.Column("rule", sa.String(16), nullable=False),
        sa.Column("subject", sa.String(256), nullable=False),
        sa.Column("active", sa.Integer, nullable=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("headline", sa.String(512), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("is_present", sa.Boolean, nullable=False),
        sa.Column("changed_at", number, nullable=False),
        sa.Column("held_us", number, nullable=False),
        sa.Column("hold_us", number, nullable=False),
        sa.Column("patience_us", number, nullable=False),
        sa.Column("first_at", number, nullable=False),
        sa.Column("opened_at", number, nullable=True),
        sa.Column("resolved_at", number, nullable=True),
        sa.Column("parent_id", number, nullable=True),
        sa.Column("is_muted", sa.Boolean, nullable=False),
        sa.Column("told", sa.Text, nullable=False),
        sa.Column("owed", sa.Boolean, nullable=False),
        sa.Column("acked_at", number, nullable=True),
        sa.Column("acked_by", sa.String(128), nullable=True),
        sa.Column("note", sa.Text, nullable=True),
        sa.Column("truth", sa.String(16), nullable=True),
        sa.Column("cause", sa.String(128), nullable=True),
        sa.UniqueConstraint("fleet", "rule", "subject", "active", name="uq_alerts_active"),
    )
    op.create_table(
        "alert_progress",
        sa.Column("fleet", sa.String(64), primary_key=True, nullable=False),
        sa.Column("rule", sa.String(16), primary_key=True, nullable=False),
        sa.Column("judged_through", number, nullable=False),
    )
    op.create_table(
        "notifications",
        sa.Column("notification_id", number, primary_key=True, autoincrement=False, nullable=False),
        sa.Column("fleet", sa.String(64), nullable=False),
        sa.Column("destination", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("alert_ids", sa.Text, nullable=False),
        sa.Column("title", sa.String(512), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", number, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_try_at", number, nullable=False),
        sa.Column("ended_at", number, nullable=True),
        sa.Column("error", sa.String(512), nullable=True),
    )
    op.create_table(
        "silences",
        sa.Column("silence_id", number, primary_key=True, autoincrement=False, nullable=False),
        sa.Column("fleet", sa.String(64), nullable=False),
        sa.Column("rule", sa.String(16), nullable=True),
        sa.Column("subject", sa.String(256), nullable=False),
        sa.Column("starts_at", number, nullable=False),
        sa.Column("ends_at", number, nullable=False),
        sa.Column("reason", sa.String(512), nullable=False),
        sa.Column("created_by", sa.String(128), nullable=False),
        sa.Column("ended_by", sa.String(128), nullable=True),
    )
    op.create_index("ix_alerts_resolved", "alerts", ["fleet", "resolved_at"])
    op.create_index(
        "ix_notifications_waiting",
        "notifications",
        ["fleet", "state", "destination", "notification_id"],
    )
    op.create_index("ix_silences_fleet", "silences", ["fleet", "ends_at"])
    counters = sa.table("counters", sa.column("name"), sa.column("value"))
    op.bulk_insert(counters, [{"name": name, "value": 0} for name in COUNTERS])


def downgrade() -> None:
    """Drop them."""
    counters = sa.table("counters", sa.column("name"))
    op.execute(sa.delete(counters).where(counters.c.name.in_(COUNTERS)))
    op.drop_table("silences")
    op.drop_table("notifications")
    op.drop_table("alert_progress")
    op.drop_table("alerts")
