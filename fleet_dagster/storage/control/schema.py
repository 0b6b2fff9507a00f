"""Tables of the control database; every change of them is an Alembic migration."""

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
BigInt = sa.BigInteger().with_variant(sa.Integer, "sqlite")

counters = sa.Table(
    "counters",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", BigInt, nullable=False),
)
"""Gap-free numbers, taken under a row lock so that they are committed in order."""

sites = sa.Table(
    "sites",
    metadata,
    sa.Column("fleet", sa.String(64), primary_key=True),
    sa.Column("site_id", sa.String(128), primary_key=True),
    sa.Column("site_no", sa.Integer, nullable=False),
    sa.Column("active_from", BigInt, nullable=False),
    sa.UniqueConstraint("fleet", "site_no"),
)

config_versions = sa.Table(
    "config_versions",
    metadata,
    sa.Column("fleet", sa.String(64), primary_key=True),
    sa.Column("version_no", sa.Integer, primary_key=True),
    sa.Column("valid_from", BigInt, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("kpis", sa.Text, nullable=False),
    sa.Column("source", sa.String(512), nullable=False),
    sa.Column("source_digest", sa.String(64), nullable=False),
    sa.Column("applied_at", BigInt, nullable=False),
)

storm_episodes = sa.Table(
    "storm_episodes",
    metadata,
    sa.Column("fleet", sa.String(64), primary_key=True),
    sa.Column("window_start", BigInt, primary_key=True),
    sa.Column("window_end", BigInt, nullable=True),
    sa.Column("cause", sa.String(512), nullable=False),
    sa.Column("started_by", sa.String(64), nullable=False),
    sa.Column("ended_by", sa.String(64), nullable=False),
    sa.Column("recorded_at", BigInt, nullable=False),
)
"""Recorded storms, named after their start; without an end while they go on."""

landing_batches = sa.Table(
    "landing_batches",
    metadata,
    sa.Column("fleet", sa.String(64), primary_key=True),
    sa.Column("batch_id", sa.String(64), primary_key=True),
    sa.Column("idempotency_key", sa.String(128), nullable=False),
    sa.Column("source", sa.String(512), nullable=False),
    sa.Column("n_rows", BigInt, nullable=False),
    sa.Column("n_unusable", BigInt, nullable=False),
    sa.Column("historical", sa.Boolean, nullable=False),
    sa.Column("landed_at", BigInt, nullable=False),
    sa.UniqueConstraint("fleet", "idempotency_key"),
)

commit_log = sa.Table(
    "commit_log",
    metadata,
    sa.Column("seq", BigInt, primary_key=True, autoincrement=False),
    sa.Column("table_name", sa.String(64), nullable=False),
    sa.Column("fleet", sa.String(64), nullable=False),
    sa.Column("window_start", BigInt, nullable=False),
    sa.Column("window_end", BigInt, nullable=False),
    sa.Column("n_rows", BigInt, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("landing", BigInt, nullable=False),
    sa.Column("inputs", sa.String(64), nullable=False),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("intent_id", sa.String(32), nullable=False),
    sa.Column("recorded_at", BigInt, nullable=False),
    sa.Column("imprint", sa.String(64), nullable=True),
    sa.Index("ix_commit_log_range", "fleet", "table_name", "window_start"),
    sa.Index("ix_commit_log_seq", "fleet", "table_name", "seq"),
)

coverage = sa.Table(
    "coverage",
    metadata,
    sa.Column("table_name", sa.String(64), primary_key=True),
    sa.Column("fleet", sa.String(64), primary_key=True),
    sa.Column("window_start", BigInt, primary_key=True),
    sa.Column("window_end", BigInt, nullable=False),
    sa.Column("landing", BigInt, nullable=False),
    sa.Column("inputs", sa.String(64), nullable=False),
)
"""Which windows stand in the lake, and from which inputs they were last computed (whether or not that changed them)."""

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("key", sa.String(256), primary_key=True),
    sa.Column("holder", sa.String(256), nullable=False),
    sa.Column("expires_at", BigInt, nullable=False),
)

intents = sa.Table(
    "intents",
    metadata,
    sa.Column("intent_id", sa.String(32), primary_key=True),
    sa.Column("table_name", sa.String(64), nullable=False),
    sa.Column("fleet", sa.String(64), nullable=False),
    sa.Column("holder", sa.String(256), nullable=False),
    sa.Column("lake_version", BigInt, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("created_at", BigInt, nullable=False),
)

watermarks = sa.Table(
    "watermarks",
    metadata,
    sa.Column("fleet", sa.String(64), primary_key=True),
    sa.Column("table_name", sa.String(64), primary_key=True),
    sa.Column("settled_through", BigInt, nullable=False),
)

lake_versions = sa.Table(
    "lake_versions",
    metadata,
    sa.Column("table_name", sa.String(64), primary_key=True),
    sa.Column("version", BigInt, nullable=False),
)
"""Version of each lake table by its last logged write: an older one has lost commits."""

cursors = sa.Table(
    "cursors",
    metadata,
    sa.Column("fleet", sa.String(64), primary_key=True),
    sa.Column("stream", sa.String(64), primary_key=True),
    sa.Column("consumer", sa.String(64), primary_key=True),
    sa.Column("position", BigInt, nullable=False),
    sa.Column("part_seq", BigInt, nullable=False),
    sa.Column("part_until", BigInt, nullable=False),
    sa.Column("created_at", BigInt, nullable=False),
    sa.Column("moved_at", BigInt, nullable=False),
)
"""How far each consumer of a stream has come: every entry up to `position`, and of entry `part_seq` the windows before `part_until`."""

missed = sa.Table(
    "missed",
    metadata,
    sa.Column("fleet", sa.String(64), primary_key=True),
    sa.Column("stream", sa.String(64), primary_key=True),
    sa.Column("consumer", sa.String(64), primary_key=True),
    sa.Column("window_start", BigInt, primary_key=True),
    sa.Column("window_end", BigInt, nullable=False),
    sa.Column("n_entries", BigInt, nullable=False),
    sa.Column("recorded_at", BigInt, nullable=False),
)
"""Days of a stream that expired before a consumer had read them."""

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("alert_id", BigInt, primary_key=True, autoincrement=False),
    sa.Column("fleet", sa.String(64), nullable=False),
    sa.Column("rule", sa.String(16), nullable=False),
    sa.Column("subject", sa.String(256), nullable=False),
    sa.Column("active", sa.Integer, nullable=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("headline", sa.String(512), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("is_present", sa.Boolean, nullable=False),
    sa.Column("changed_at", BigInt, nullable=False),
    sa.Column("held_us", BigInt, nullable=False),
    sa.Column("hold_us", BigInt, nullable=False),
    sa.Column("patience_us", BigInt, nullable=False),
    sa.Column("first_at", BigInt, nullable=False),
    sa.Column("opened_at", BigInt, nullable=True),
    sa.Column("resolved_at", BigInt, nullable=True),
    sa.Column("parent_id", BigInt, nullable=True),
    sa.Column("is_muted", sa.Boolean, nullable=False),
    sa.Column("told", sa.Text, nullable=False),
    sa.Column("owed", sa.Boolean, nullable=False),
    sa.Column("acked_at", BigInt, nullable=True),
    sa.Column("acked_by", sa.String(128), nullable=True),
    sa.Column("note", sa.Text, nullable=True),
    sa.Column("truth", sa.String(16), nullable=True),
    sa.Column("cause", sa.String(128), nullable=True),
    sa.UniqueConstraint("fleet", "rule", "subject", "active", name="uq_alerts_active"),
    sa.Index("ix_alerts_resolved", "fleet", "resolved_at"),
)
"""Alerts; `active` is 1 until one is resolved and null from then on, so that a subject has one active alert at most."""

alert_progress = sa.Table(
    "alert_progress",
    metadata,
    sa.Column("fleet", sa.String(64), primary_key=True),
    sa.Column("rule", sa.String(16), primary_key=True),
    sa.Column("judged_through", BigInt, nullable=False),
)
"""Until when each rule has been judged."""

notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("notification_id", BigInt, primary_key=True, autoincrement=False),
    sa.Column("fleet", sa.String(64), nullable=False),
    sa.Column("destination", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("alert_ids", sa.Text, nullable=False),
    sa.Column("title", sa.String(512), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("created_at", BigInt, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_try_at", BigInt, nullable=False),
    sa.Column("ended_at", BigInt, nullable=True),
    sa.Column("error", sa.String(512), nullable=True),
    sa.Index("ix_notifications_waiting", "fleet", "state", "destination", "notification_id"),
)
"""Messages, one for each destination, in the order in which they are sent; addresses are in the configuration only."""

silences = sa.Table(
    "silences",
    metadata,
    sa.Column("silence_id", BigInt, primary_key=True, autoincrement=False),
    sa.Column("fleet", sa.String(64), nullable=False),
    sa.Column("rule", sa.String(16), nullable=True),
    sa.Column("subject", sa.String(256), nullable=False),
    sa.Column("starts_at", BigInt, nullable=False),
    sa.Column("ends_at", BigInt, nullable=False),
    sa.Column("reason", sa.String(512), nullable=False),
    sa.Column("created_by", sa.String(128), nullable=False),
    sa.Column("ended_by", sa.String(128), nullable=True),
    sa.Index("ix_silences_fleet", "fleet", "ends_at"),
)
"""Spans in which alerts of a fleet are recorded but not sent."""

imprints = sa.Table(
    "imprints",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("recorded_at", BigInt, nullable=False),
)
"""What software wrote entries of the commit log, and where it ran."""

ledgers = sa.Table(
    "ledgers",
    metadata,
    sa.Column("fleet", sa.String(64), primary_key=True),
    sa.Column("origin", sa.String(200), nullable=False),
    sa.Column("size", BigInt, nullable=False),
)
"""Name and size of each fleet's ledger."""

ledger_entries = sa.Table(
    "ledger_entries",
    metadata,
    sa.Column("fleet", sa.String(64), primary_key=True),
    sa.Column("number", BigInt, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("window_start", BigInt, nullable=True),
    sa.Column("revision", sa.Integer, nullable=True),
    sa.Column("row_digest", sa.LargeBinary(32), nullable=True),
    sa.Column("entry", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint(
        "fleet", "window_start", "revision", "row_digest", name="uq_ledger_entries_row"
    ),
)
"""Entries of the ledgers, the bytes as they were hashed; a row of a window is in it once."""

ledger_tiles = sa.Table(
    "ledger_tiles",
    metadata,
    sa.Column("fleet", sa.String(64), primary_key=True),
    sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", BigInt, primary_key=True, autoincrement=False),
    sa.Column("hashes", sa.LargeBinary, nullable=False),
)
"""Hashes of the ledgers' trees, up to 256 neighbours of one level together."""

ledger_checkpoints = sa.Table(
    "ledger_checkpoints",
    metadata,
    sa.Column("fleet", sa.String(64), primary_key=True),
    sa.Column("size", BigInt, primary_key=True, autoincrement=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("created_at", BigInt, nullable=False),
)
"""Signed checkpoints of the ledgers, as they were signed."""

ledger_cosignatures = sa.Table(
    "ledger_cosignatures",
    metadata,
    sa.Column("fleet", sa.String(64), primary_key=True),
    sa.Column("size", BigInt, primary_key=True, autoincrement=False),
    sa.Column("witness", sa.String(200), primary_key=True),
    sa.Column("line", sa.Text, nullable=False),
    sa.Column("received_at", BigInt, nullable=False),
)
"""Signature lines of witnesses, by the checkpoint that they vouch for."""

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("token_id", sa.String(16), primary_key=True),
    sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("fleet", sa.String(64), nullable=True),
    sa.Column("created_at", BigInt, nullable=False),
    sa.Column("expires_at", BigInt, nullable=True),
    sa.Column("revoked_at", BigInt, nullable=True),
)
"""Who may see and do what over the network. A token itself is nowhere, only its SHA-256; without a fleet it is for all of them."""

operator_actions = sa.Table(
    "operator_actions",
    metadata,
    sa.Column("number", BigInt, primary_key=True, autoincrement=True),
    sa.Column("fleet", sa.String(64), nullable=False),
    sa.Column("done_at", BigInt, nullable=False),
    sa.Column("token_id", sa.String(16), nullable=False),
    sa.Column("done_by", sa.String(128), nullable=False),
    sa.Column("action", sa.String(32), nullable=False),
    sa.Column("subject", sa.String(256), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Index("ix_operator_actions_fleet", "fleet", "number"),
)
"""What people did over the network, and with which token."""

node_reports = sa.Table(
    "node_reports",
    metadata,
    sa.Column("number", BigInt, primary_key=True, autoincrement=True),
    sa.Column("fleet", sa.String(64), nullable=False),
    sa.Column("node", sa.String(64), nullable=False),
    sa.Column("recorded_at", BigInt, nullable=False),
    sa.Column("source", sa.String(16), nullable=False),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("span_start", BigInt, nullable=False),
    sa.Column("span_end", BigInt, nullable=False),
    sa.Column("windows", sa.Integer, nullable=False),
    sa.Column("rows_in", BigInt, nullable=False),
    sa.Column("rows_out", BigInt, nullable=False),
    sa.Column("shed", BigInt, nullable=False),
    sa.Column("quarantined", BigInt, nullable=False),
    sa.Column("duration_us", BigInt, nullable=False),
    sa.Column("lag_us", BigInt, nullable=True),
    sa.Column("watermark", BigInt, nullable=True),
    sa.Column("anomaly_score", sa.Float, nullable=True),
    sa.Column("breaches", sa.Text, nullable=False),
    sa.Index("ix_node_reports_node", "fleet", "node", "number"),
)
"""What each node's latest work was; old reports are removed, their sums stay in `node_totals`."""

node_totals = sa.Table(
    "node_totals",
    metadata,
    sa.Column("fleet", sa.String(64), primary_key=True),
    sa.Column("node", sa.String(64), primary_key=True),
    sa.Column("reports", BigInt, nullable=False),
    sa.Column("windows", BigInt, nullable=False),
    sa.Column("rows_in", BigInt, nullable=False),
    sa.Column("rows_out", BigInt, nullable=False),
    sa.Column("shed", BigInt, nullable=False),
    sa.Column("quarantined", BigInt, nullable=False),
    sa.Column("duration_us", BigInt, nullable=False),
    sa.Column("breaches", BigInt, nullable=False),
    sa.Column("durations", sa.Text, nullable=False),
    sa.Column("began_at", BigInt, nullable=False),
)
"""Counters of each node since they began: runs are processes that end, and none of them could be asked for a total."""

stream_totals = sa.Table(
    "stream_totals",
    metadata,
    sa.Column("fleet", sa.String(64), primary_key=True),
    sa.Column("stream", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("windows", BigInt, nullable=False),
    sa.Column("began_at", BigInt, nullable=False),
)
"""Windows of each stream that were ever appended, restated or removed, as its consumer `streamsight` counted them."""
