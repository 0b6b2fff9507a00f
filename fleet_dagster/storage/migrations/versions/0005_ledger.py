"""The ledger's entries, tiles, checkpoints and cosignatures, and what software wrote an entry of the commit log."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, and the log's new column."""
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.add_column("commit_log", sa.Column("imprint", sa.String(64), nullable=True))
    op.create_table(
        "imprints",
        sa.Column("digest", sa.String(64), primary_key=True, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("recorded_at", number, nullable=False),
    )
    op.create_table(
        "ledgers",
        sa.Column("fleet", sa.String(64), primary_key=True, nullable=False),
        sa.Column("origin", sa.String(200), nullable=False),
        sa.Column("size", number, nullable=False),
    )
    op.create_table(
        "ledger_entries",
        sa.Column("fleet", sa.String(64), primary_key=True, nullable=False),
        sa.Column("number", number, primary_key=True, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("window_start", number, nullable=True),
        sa.Column("revision", sa.Integer, nullable=True),
        sa.Column("row_digest", sa.LargeBinary(32), nullable=True),
        sa.Column("entry", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint(
            "fleet", "window_start", "revision", "row_digest", name="uq_ledger_entries_row"
        ),
    )
    op.create_table(
        "ledger_tiles",
        sa.Column("fleet", sa.String(64), primary_key=True, nullable=False),
        sa.Column("level", sa.Integer, primary_key=True, nullable=False),
        sa.Column("number", number, primary_key=True, nullable=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "ledger_checkpoints",
        sa.Column("fleet", sa.String(64), primary_key=True, nullable=False),
        sa.Column("size", number, primary_key=True, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("created_at", number, nullable=False),
    )
    op.create_table(
        "ledger_cosignatures",
        sa.Column("fleet", sa.String(64), primary_key=True, nullable=False),
        sa.Column("size", number, primary_key=True, nullable=False),
        sa.Column("witness", sa.String(200), primary_key=True, nullable=False),
        sa.Column("line", sa.Text, nullable=False),
        sa.Column("received_at", number, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for name in (
        "ledger_cosignatures",
        "ledger_checkpoints",
        "ledger_tiles",
        "ledger_entries",
        "ledgers",
        "imprints",
    ):
        op.drop_table(name)
    with op.batch_alter_table("commit_log") as log:
        log.drop_column("imprint")
