"""Read a fleet's YAML file, and say on which line a problem stands."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import ConfigError
from fleet_dagster.model.messages import Place, problems_in



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
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            str(path), [f"cannot be read as UTF-8 text ({error}). Check the path and the encoding"]
        ) from error
    return parse_config(text, source=str(path))


def parse_config(text: str, *, source: str) -> FleetConfig:
    """Validate the YAML `text` of one fleet; `source` names it in errors."""
    try:
        content = yaml.safe_load(text)
        lines = _lines(yaml.compose(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ConfigError(source, [f"is not YAML: {' '.join(str(error).split())}"]) from error
    if not isinstance(content, dict):
        raise ConfigError(
            source, [f"holds {type(content).__name__}, expected a mapping with `name:`, `kpis:`, …"]
        )
    return validate_config(content, source=source, lines=lines)


def validate_config(
    content: dict[str, Any], *, source: str, lines: dict[Place, int] | None = None
) -> FleetConfig:
    """Validate a mapping as a fleet's configuration, with every problem in one error."""
    try:
        return FleetConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError(source, problems_in(error.errors(), FleetConfig, lines or {})) from error


def _lines(node: yaml.Node | None, path: Place = ()) -> dict[Place, int]:
    if node is None:
        return {}
    lines = {path: node.start_mark.line + 1}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            lines |= _lines(value, (*path, str(key.value)))
            lines[(*path, str(key.value))] = key.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            lines |= _lines(value, (*path, i))
    return lines
