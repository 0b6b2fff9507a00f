"""Write the reference pages that come from the code: `python docs/generate.py`. A test keeps them current."""

import ast
import inspect
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from fleet_dagster.cli.main import COMMANDS, Commands, main
from fleet_dagster.cli.setup import schema_text
from fleet_dagster.model.alerts import (
    DEFAULT_RULES,
    AlertRule,
    AlertRules,
    AlertSettings,
    Destination,
)
from fleet_dagster.model.config import FleetConfig, Kpi, RegionMapping
from fleet_dagster.model.features import MAX_REACH, SITE_SOURCES
from fleet_dagster.model.ledger import LedgerSettings, LedgerWitness
from fleet_dagster.model.profiles import PRESETS, PROFILES, FleetProfile, HealthWeights
from fleet_dagster.model.retention import Retention
from fleet_dagster.model.slots import AIModelSlot
from fleet_dagster.model.source import Defaults, KpiColumn, SourceMapping
from fleet_dagster.model.streams import STREAMS
from fleet_dagster.model.streamsight import NodeThresholds, StreamSightSettings
from fleet_dagster.model.tables import TABLES, Column, Table
from fleet_dagster.telemetry.metrics import METRICS, Metric

REFERENCE = Path(__file__).parent / "reference"
_HEAD = "<!-- Written by docs/generate.py. Change the code, not this page. -->\n"
_MODELS: tuple[type[BaseModel], ...] = (
    FleetConfig,
    Kpi,
    RegionMapping,
    Retention,
    SourceMapping,
    KpiColumn,
    Defaults,
    HealthWeights,
    FleetProfile,
    AIModelSlot,
    AlertSettings,
    Destination,
    AlertRules,
    AlertRule,
    LedgerSettings,
    LedgerWitness,
    StreamSightSettings,
    NodeThresholds,
)


def pages() -> dict[str, str]:
    """Return every generated page by file name."""
    return {
        "configuration.md": _configuration(),
        "features.md": _features(),
        "tables.md": _tables(),
        "metrics.md": _metrics(),
        "cli.md": _command_line(),
        "fleet.schema.json": schema_text(),
    }


def _configuration() -> str:
    intro = (
        "# Configuration\n\nA fleet is one YAML file in `fleets/`. `fleet init NAME` writes one with comments, `fleet validate` "
        "checks it, and [fleet.schema.json](fleet.schema.json) tells editors what may stand where. The same fields are the "
        "arguments of `FleetConfig` in Python.\n\n"
        "Region mappings, weights, thresholds and model slots are hot: a change takes effect with the next window, without a "
        "restart. The rest is structure: reload the code location.\n"
    )
    sections = "".join(_model_section(model) for model in _MODELS)
    return f"{_HEAD}{intro}\n{_profiles()}\n{_presets()}{sections}\n{_alert_rules()}"


def _features() -> str:
    intro = (
        "# Features of AI models\n\nA model is fed a list of features, in the order of its training. Each is a short text:\n\n"
        "| text | is |\n|---|---|\n"
        "| `power_kw` | the KPI in the window, normalised: 0 = lo, 1 = hi |\n"
        "| `power_kw@3` | three windows ago |\n"
        "| `mean(power_kw, 10)` | over the last ten windows, this one included; also `min`, `max`, `std`, `slope` (per window) |\n"
        "| `region(power_kw)` | mean over the sites of the region |\n"
        "| `upstream(power_kw)` | mean over the sites that the site depends on |\n"
        "| `mean(region(power_kw), 10)` | both |\n\n"
        f"Windows reach back {MAX_REACH} at most. What is not there is left out of summaries and means; a feature of nothing is absent, "
        "and the site-window then fails, or is given NaN where the slot says `missing: pass`.\n\n"
        "Besides the fleet's KPIs there are:\n"
    )
    rows = [(f"`{name}`", meaning) for name, meaning in SITE_SOURCES.items()]
    return f"{_HEAD}{intro}\n{_table(('source', 'is'), rows)}"


def _model_section(model: type[BaseModel]) -> str:
    schema = model.model_json_schema()
    meanings, required = _attribute_docs(model), set(schema.get("required", []))
    rows = [
        (f"`{name}`", _kind(field), _default(field, name in required), meanings.get(name, ""))
        for name, field in schema["properties"].items()
    ]
    table = _table(("field", "may be", "default", "meaning"), rows)
    return f"\n## {model.__name__}\n\n{(model.__doc__ or '').strip()}\n\n{table}"


def _profiles() -> str:
    rows = [
        (
            f"`{p.name}`",
            p.max_sites,
            p.max_regions,
            p.ai_slots,
            f"{p.interval_s} s",
            p.anomaly_threshold,
            p.outlier_sigma,
        )
        for p in PROFILES.values()
    ]
    head = (
        "profile",
        "sites",
        "regions",
        "AI slots",
        "window",
        "anomaly threshold",
        "outlier sigma",
    )
    return _table(head, rows)


def _presets() -> str:
    rows = [
        (f"`{n}`", " ".join(f"{w:.3g}" for w in p.weights), p.uptime_weight, p.fault_weight)
        for n, p in PRESETS.items()
    ]
    return _table(("health_weights", "KPI weights, in KPI order", "uptime", "faults"), rows)


def _alert_rules() -> str:
    rows = [
        (
            f"`{name}`",
            f"{own['open_after_minutes']:g}",
            f"{own['resolve_after_minutes']:g}",
            own.get("severity", "the incident's"),
        )
        for name, own in DEFAULT_RULES.items()
    ]
    head = ("rule", "open_after_minutes", "resolve_after_minutes", "severity")
    return f"Defaults of the rules:\n\n{_table(head, rows)}"


def _attribute_docs(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstrings that stand under a model's fields."""
    (cls,) = ast.parse(inspect.getsource(model)).body
    body = cls.body if isinstance(cls, ast.ClassDef) else []
    found = {}
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
            text = below.value.value if isinstance(below.value, ast.Constant) else ""
            if isinstance(field.target, ast.Name) and isinstance(text, str):
                found[field.target.id] = " ".join(text.split())
    return found


def _kind(field: Mapping[str, Any]) -> str:  # Any: a JSON Schema
    for key in ("anyOf", "allOf"):
        if key in field:
            return " or ".join(_kind(one) for one in field[key] if one.get("type") != "null")
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        return f"list of {_kind(field.get('items', {}))}"
    if field.get("type") == "object":
        return f"mapping to {_kind(field.get('additionalProperties', {}))}"
    return _scalar(field)


def _scalar(field: Mapping[str, Any]) -> str:  # Any: a JSON Schema
    words = {
        "integer": "whole number",
        "number": "number",
        "string": "text",
        "boolean": "true or false",
    }
    name = words.get(str(field.get("type")), "anything")
    formats = {"date": "date", "date-time": "instant with offset"}
    name = formats.get(str(field.get("format")), name)
    bounds = {
        "minimum": "≥",
        "exclusiveMinimum": ">",
        "maximum": "≤",
        "exclusiveMaximum": "<",
        "maxLength": "characters ≤",
    }
    limits = [f"{sign} {field[key]:g}" for key, sign in bounds.items() if key in field]
    return f"{name} {', '.join(limits)}".strip()


def _default(field: Mapping[str, Any], is_required: bool) -> str:  # noqa: FBT001 - a cell of a table
    if is_required:
        return "**required**"
    value = field.get("default")
    if isinstance(value, dict) or value in (None, "", []):
        return "-"
    return f"`{json.dumps(value)}`"


def _tables() -> str:
    intro = (
        "# Tables\n\nEach is a Delta table below the lake folder (`.fleet/lake`), partitioned by `fleet` and `day`. Rows that a "
        "restatement replaced are kept in `<table>_superseded`, with `intent_id` and `superseded_at`. Instants are UTC. "
        "Columns numbered 00 to 15 follow the order of the fleet's KPIs.\n\n"
        "Read them through Delta, never the Parquet files directly: superseded files stay in the folders for a while and would be "
        "counted too. pandas: `DeltaTable(path).to_pandas()`; DuckDB: `delta_scan(path)`, or `duckdb.sql` over "
        "`DeltaTable(path).to_pyarrow_dataset()` ([an example](../explanation/storage.md)).\n"
    )
    return f"{_HEAD}{intro}" + "".join(_table_section(t) for t in TABLES.values())


def _table_section(table: Table) -> str:
    rows = [
        (f"`{c.name}`", c.type + (", may be null" if c.nullable else ""), _range(c), c.meaning)
        for c in _folded(table)
    ]
    facts = (
        f"One row per {table.grain}. Key: {', '.join(f'`{k}`' for k in table.key)}. "
        f"Kept {table.retention_days} days."
    )
    if table.stream is not None:
        readers = ", ".join(f"`{c}`" for c in STREAMS[table.stream].consumers)
        facts += f" Followed as `{table.stream}`, made for {readers}."
    columns = _table(("column", "type", "unit, range", "meaning"), rows)
    return f"\n## {table.name}\n\n{table.description}\n\n{facts}\n\n{columns}"


def _folded(table: Table) -> Iterator[Column]:
    """Yield the columns, each numbered family of sixteen as one."""
    for column in table.columns:
        stem, _, number = column.name.rpartition("_")
        if stem and number.isdigit():
            if number == "00":
                meaning = column.meaning.replace(" 00", "").replace(" 0", "")
                yield Column(f"{stem}_00 … _15", column.type, meaning, column.unit, nullable=True)
        else:
            yield column


def _range(column: Column) -> str:
    if column.values:
        return " or ".join(f"`{v}`" for v in column.values)
    unit = f"[{column.unit}]" if column.unit and column.unit != "1" else ""
    low = "" if column.lo is None else f"from {column.lo:g}"
    high = "" if column.hi is None else f"to {column.hi:g}"
    return " ".join(word for word in (unit, low, high) if word)


def _metrics() -> str:
    intro = (
        "# Metrics\n\n`/metrics` answers in OpenMetrics' text format, or in Prometheus' classic one, as the header `Accept` asks for. "
        "Counters are kept in the control database: they go on where they were, whichever processes computed and whichever one is "
        "asked. How to [watch with Prometheus and OTLP](../how-to/watch-with-prometheus-and-otlp.md).\n"
    )
    rows = [
        (_series(m), m.kind, ", ".join(f"`{x}`" for x in m.labels), m.meaning)
        for m in METRICS.values()
    ]
    table = _table(("series", "type", "labels", "meaning"), rows)
    return f"{_HEAD}{intro}\n{table}"


def _series(metric: Metric) -> str:
    """Return the names to query; when a counter began is left out."""
    return " ".join(f"`{name}`" for name in metric.series if not name.endswith("_created"))


def _command_line() -> str:
    parts = [_HEAD, "# Command line\n"]
    root = click.Context(main, info_name="fleet")
    parts.append(f"\n```text\n{main.get_help(root)}\n```\n")
    for name in COMMANDS:
        command = Commands().get_command(root, name)
        if command is not None:
            parts += _command_sections(command, click.Context(command, info_name=name, parent=root))
    return "".join(parts)


def _command_sections(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"\n## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from _command_sections(
                child, click.Context(child, info_name=name, parent=context)
            )


def _table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(
        "| " + " | ".join(str(c).replace("|", "\\|") for c in line) + " |\n" for line in lines
    )


if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    for page, text in pages().items():
        (REFERENCE / page).write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {REFERENCE / page}\n")
