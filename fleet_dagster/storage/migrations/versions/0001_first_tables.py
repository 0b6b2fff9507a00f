"""First tables: sites, settings, landing, commit log, coverage, leases, intents, watermarks."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table of the first release."""
    op.create_table("counters", _text("name", 64, key=True), _number("value"))
    op.bulk_insert(
        sa.table("counters", sa.column("name"), sa.column("value")),
        [{"name": "commit_log", "value": 0}, {"name": "registry", "value": 0}],
    )
    op.create_table(
        "sites",
        _text("fleet", 64, key=True),
        _text("site_id", 128, key=True),
        sa.Column("site_no", sa.Integer, nullable=False),
        _number("active_from"),
        sa.UniqueConstraint("fleet", "site_no", name="uq_sites_fleet"),
    )
    op.create_table(
        "config_versions",
        _text("fleet", 64, key=True),
        sa.Column("version_no", sa.Integer, primary_key=True),
        _number("valid_from"),
        _text("digest", 64),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("kpis", sa.Text, nullable=False),
        _text("source", 512),
        _text("source_digest", 64),
        _number("applied_at"),
    )
    op.create_table(
        "landing_batches",
        _text("fleet", 64, key=True),
        _text("batch_id", 64, key=True),
        _text("idempotency_key", 128),
        _text("source", 512),
        _number("n_rows"),
        _number("n_unusable"),
        sa.Column("historical", sa.Boolean, nullable=False),
        _number("landed_at"),
        sa.UniqueConstraint("fleet", "idempotency_key", name="uq_landing_batches_fleet"),
    )
    op.create_table(
        "commit_log",
        sa.Column("seq", _big(), primary_key=True, autoincrement=False),
        _text("table_name", 64),
        _text("fleet", 64),
        _number("window_start"),
        _number("window_end"),
        _number("n_rows"),
        _text("kind", 16),
        _text("digest", 64),
        _number("landing"),
        _text("inputs", 64),
        _text("run_id", 64),
        _text("intent_id", 32),
        _number("recorded_at"),
    )
    op.create_index("ix_commit_log_range", "commit_log", ["fleet", "table_name", "window_start"])
    op.create_index("ix_commit_log_seq", "commit_log", ["fleet", "table_name", "seq"])
    op.create_table(
        "coverage",
        _text("table_name", 64, key=True),
        _text("fleet", 64, key=True),
        sa.Column("window_start", _big(), primary_key=True),
        _number("window_end"),
        _number("landing"),
        _text("inputs", 64),
    )
    op.create_table(
        "leases", _text("key", 256, key=True), _text("holder", 256), _number("expires_at")
    )
    op.create_table(
        "intents",
        _text("intent_id", 32, key=True),
        _text("table_name", 64),
        _text("fleet", 64),
        _text("holder", 256),
        _number("lake_version"),
        sa.Column("payload", sa.Text, nullable=False),
        _number("created_at"),
    )
    op.create_table(
        "watermarks",
        _text("fleet", 64, key=True),
        _text("table_name", 64, key=True),
        _number("settled_through"),
    )
    op.create_table("lake_versions", _text("table_name", 64, key=True), _number("version"))


def downgrade() -> None:
    """Drop them all."""
    for name in (
        "lake_versions",
        "watermarks",
        "intents",
        "leases",
        "coverage",
        "commit_log",
        "landing_batches",
        "config_versions",
        "sites",
        "counters",
    ):
        op.drop_table(name)


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, _big(), nullable=False)


def _text(name: str, length: int, *, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), primary_key=key, nullable=False)
