"""Puts what is wrong with a configuration into words: field, value found, limit, and what to do."""

import difflib
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from fleet_dagster.model.alerts import without_addresses
from fleet_dagster.model.errors import RuleError

Place = tuple[str | int, ...]
"""Where a value stands: field names and positions from the top."""
_TYPES = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text; put it in quotes",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of fields",
    "model_type": "a mapping of fields",
    "model_attributes_type": "a mapping of fields",
    "timezone_aware": "an instant with its offset, such as 2026-01-31T08:00:00Z",
    "datetime_type": "an instant with its offset, such as 2026-01-31T08:00:00Z",
    "datetime_parsing": "an instant with its offset, such as 2026-01-31T08:00:00Z",
    "datetime_from_date_parsing": "an instant with its offset, such as 2026-01-31T08:00:00Z",
    "date_type": "a date such as 2026-01-31",
    "date_parsing": "a date such as 2026-01-31",
    "date_from_datetime_parsing": "a date such as 2026-01-31",
    "date_from_datetime_inexact": "a date such as 2026-01-31",
}
_LONGEST = 80
_BOUNDS = {
    "greater_than": ("gt", "above", "Raise it"),
    "greater_than_equal": ("ge", "at least", "Raise it"),
    "less_than": ("lt", "below", "Lower it"),
    "less_than_equal": ("le", "at most", "Lower it"),
}


def problems_in(
    errors: Sequence[ErrorDetails], model: type[BaseModel], lines: Mapping[Place, int]
) -> list[str]:
    """Return one sentence for each problem, with its line where the lines are known."""
    sentences = []
    for error in _causes(errors):
        cause = error.get("ctx", {}).get("error")
        rules = cause.rules if isinstance(cause, RuleError) else [((), _words(error, model))]
        for place, words in rules:
            where = (*error["loc"], *place)
            named = words if isinstance(cause, RuleError) else f"{_field(where)}{words}"
            sentences.append(_line(where, lines) + named)
    return sentences


def _causes(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out that a list is too short where its items are what is wrong."""
    within = {error["loc"][:n] for error in errors for n in range(len(error["loc"]))}
    return [e for e in errors if e["type"] != "too_short" or e["loc"] not in within]


def _line(where: Place, lines: Mapping[Place, int]) -> str:
    while where and where not in lines:
        where = where[:-1]
    return f"line {lines[where]}: " if where in lines else ""


def _field(where: Place) -> str:
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return f"{name.removeprefix('.')}: " if where else ""


def _words(error: ErrorDetails, model: type[BaseModel]) -> str:
    kind, found, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "value_error":
        return error["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return _unknown_field(error["loc"], model)
    if kind == "missing":
        return "is missing. Add it"
    if kind in _BOUNDS:
        limit, relation, fix = _BOUNDS[kind]
        return f"found {found!r}, expected {relation} {context[limit]:g}. {fix}"
    if kind in {"too_long", "too_short"}:
        return _length(kind, context)
    return f"found {_shown(found)}, expected {_expected(error)}. Correct the value"


def _unknown_field(loc: Place, model: type[BaseModel]) -> str:
    known = sorted(_model_at(loc[:-1], model).model_fields)
    near = difflib.get_close_matches(str(loc[-1]), known, n=1)
    advice = (
        f"Did you mean {near[0]!r}?" if near else f"Remove it, or use one of {', '.join(known)}"
    )
    return f"is not a known field. {advice}"


def _length(
    kind: str, context: Mapping[str, Any]
) -> str:  # Any: limits and counts of several types
    if kind == "too_long":
        fix = "Remove the rest"
        return f"found {context['actual_length']}, expected at most {context['max_length']}. {fix}"
    least = context["min_length"]
    return f"found {context['actual_length']}, expected at least {least}. Add what is missing"


def _expected(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "literal_error":
        return f"one of {context['expected']}"
    if kind == "string_pattern_mismatch":
        return f"text that matches {context['pattern']}"
    if kind == "string_too_long":
        return f"at most {context['max_length']} characters"
    if kind == "string_too_short":
        return f"at least {context['min_length']} characters"
    return _TYPES.get(kind, error["msg"])


def _shown(found: object) -> str:
    text = without_addresses(repr(found))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _model_at(place: Place, model: type[BaseModel]) -> type[BaseModel]:
    for part in place:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:  # Any: typing's own forms
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_model_in(part) for part in typing.get_args(annotation))
    return next((found for found in inner if found is not None), None)
