"""The table of what AI models returned."""

from fleet_dagster.model.tables.columns import WINDOW, Column, Table, share

OUTCOMES = ("ok", "disabled", "rate_limited", "failed", "timed_out")

AI_INFERENCE = Table(
    name="ai_inference",
    grain="slot x site x window",
    key=("fleet", "window_start", "slot_id", "site_id"),
    retention_days=90,
    stream="ai_inference_stream",
    description="What each AI model returned for each site, or why it returned nothing.",
    columns=(
        *WINDOW,
        Column("slot_id", "int8", "Slot", lo=0, hi=15),
        Column(
            "site_id", "string", "Site; empty in the one row of a window whose slot is disabled"
        ),
        Column(
            "region_id",
            "string",
            "Region of the site as of the window; empty where there is no site",
        ),
        Column("model_id", "string", "Model in the slot as of the window"),
        Column("version", "string", "Version of the model"),
        Column(
            "prediction",
            "float64",
            "What the model returned, rounded to 1e-9: a value, a probability or a class",
            nullable=True,
        ),
        share("confidence", "How sure the model is; 1 where it does not say", nullable=True),
        Column(
            "accepted", "bool", "The outcome is ok and the confidence reaches the slot's threshold"
        ),
        Column(
            "outcome",
            "string",
            "What became of the question; disabled: one row a window, without a site",
            values=OUTCOMES,
        ),
        Column(
            "error", "string", "Why there is no prediction; null where there is one", nullable=True
        ),
        Column(
            "latency_us",
            "int64",
            "Duration of the window's inferences by the number of sites asked for",
            "us",
            nullable=True,
            lo=0,
            compared=False,
        ),
        Column(
            "input_digest",
            "string",
            "Digest of the inputs, 16 hex digits; null where none were made",
            nullable=True,
        ),
        Column(
            "model_digest",
            "string",
            "SHA-256 of the model, or of its address and version, 16 hex digits; null where there is no site",
            nullable=True,
        ),
    ),
)
