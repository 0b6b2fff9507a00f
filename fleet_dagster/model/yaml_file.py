"""Read a fleet's YAML file, and say on which line a problem stands."""

from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import ConfigError
from fleet_dagster.model.messages import Place, problems_in

MAX_VALUES = 100_000
"""Values in one file: far above 1,000 sites with all they can say."""
MAX_DEPTH = 16
"""Levels of nesting: more than twice what a configuration has."""


def load_config(path: Path) -> FleetConfig:
    """Read and validate one fleet file.

    Parameters
    ----------
    path : Path
        A YAML file in UTF-8.

    Returns
    -------
    FleetConfig
        The configuration.

    Raises
    ------
    ConfigError
        The file is missing, is not YAML, or breaks a rule; every problem is listed with its line.
    """
    return parse_config(text_of(path), source=str(path))


def text_of(path: Path) -> str:
    """Return the text of a fleet file, which is in UTF-8; one that is missing or cannot be read is a ConfigError."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(str(path), ["is not there. Check the path"]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            str(path), [f"cannot be read as UTF-8 text ({error}). Check the path and the encoding"]
        ) from error


def parse_config(text: str, *, source: str) -> FleetConfig:
    """Validate the YAML `text` of one fleet; `source` names it in errors."""
    try:
        lines = _lines(source, yaml.compose(text, Loader=yaml.SafeLoader))
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(source, [f"is not YAML: {' '.join(str(error).split())}"]) from error
    if not isinstance(content, dict):
        raise ConfigError(
            source, [f"holds {type(content).__name__}, expected a mapping with `name:`, `kpis:`, …"]
        )
    return validate_config(content, source=source, lines=lines)


def line_of(path: Path, place: Place) -> int | None:
    """Return the line of a value in a fleet file that has been read, or of what holds it; None where it is not written."""
    lines = _lines(str(path), yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader))
    return next((lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in lines), None)


def validate_config(
    content: dict[str, Any], *, source: str, lines: dict[Place, int] | None = None
) -> FleetConfig:
    """Validate a mapping as a fleet's configuration, with every problem in one error."""
    try:
        return FleetConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError(source, problems_in(error.errors(), FleetConfig, lines or {})) from error


def _lines(source: str, top: yaml.Node | None) -> dict[Place, int]:
    """Return the line of every value; refuses repeated keys and aliases that unfold without end."""
    lines: dict[Place, int] = {}
    waiting: list[tuple[Place, yaml.Node]] = [] if top is None else [((), top)]
    while waiting:
        path, node = waiting.pop()
        lines.setdefault(path, node.start_mark.line + 1)
        children = _children(node)
        names = [name for name, _, _ in children]
        twice = [name for name, n in Counter(names).items() if n > 1]
        if twice:
            problem = (
                f"line {lines[path]}: key {twice[0]!r} appears more than once. Keep one of them"
            )
            raise ConfigError(source, [problem])
        for step, line, child in children:
            lines[(*path, step)] = line
            waiting.append(((*path, step), child))
        if len(lines) > MAX_VALUES or len(path) > MAX_DEPTH:
            problem = (
                f"holds more than {MAX_VALUES} values, or {MAX_DEPTH} levels. Write out its aliases"
            )
            raise ConfigError(source, [problem])
    return lines


def _children(node: yaml.Node) -> list[tuple[str | int, int, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        return [(str(k.value), k.start_mark.line + 1, v) for k, v in node.value]
    if isinstance(node, yaml.SequenceNode):
        return [(i, v.start_mark.line + 1, v) for i, v in enumerate(node.value)]
    return []
