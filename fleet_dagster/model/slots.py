"""`AIModelSlot`: which model a slot holds, what it is fed, and what it may cost."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator

from fleet_dagster.model.features import parse_feature
from fleet_dagster.model.names import Identifier
from fleet_dagster.model.profiles import Frozen
from fleet_dagster.model.tables import ALL_DOMAINS

Backend = Literal["sklearn", "onnx", "http", "entry_point"]
BACKENDS: tuple[Backend, ...] = ("sklearn", "onnx", "http", "entry_point")
MAX_SLOTS = 16
PINNED: tuple[Backend, ...] = ("sklearn", "onnx")
"""Backends whose model is a file, pinned by its SHA-256."""


class AIModelSlot(Frozen):
    """One registered AI model."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    slot_id: Annotated[int, Field(ge=0, lt=MAX_SLOTS)]
    """Slot."""
    model_id: Identifier
    """Name of the model."""
    domain: str = ALL_DOMAINS
    """Sees the windows of sites that report a KPI of this domain; `all` sees every published one."""
    version: Annotated[str, Field(min_length=1, max_length=64)] = "1"
    """Version of the model."""
    active: bool = True
    """Whether it is asked."""
    rate_limit_hz: Annotated[float, Field(gt=0)] = 10.0
    """Inferences per second of event time."""
    confidence_threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Results below it are kept, but not accepted."""
    backend: Backend = "sklearn"
    """How the model runs."""
    artifact: Annotated[str, Field(max_length=512)] = ""
    """Where the model is: a file of the models folder, a URL, or the name of an entry point."""
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    """Digest that pins the file."""
    features: Annotated[tuple[str, ...], Field(max_length=256)] = ()
    """What it is fed, in order: `power_kw`, `power_kw@3`, `mean(power_kw, 10)`, `region(power_kw)`, `site.status`, …"""
    output: Literal["value", "probability", "class"] = "value"
    """What it returns: a number, the probability of class 1, or the most probable class."""
    missing: Literal["refuse", "pass"] = "refuse"
    """What happens to a site-window of which an input is absent: it fails, or the model is given NaN."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 5.0
    """How long one call may take; it asks about up to an hour's windows. [s]"""
    isolation: Literal["auto", "thread", "process"] = "auto"
    """Where it runs: a process of its own can be ended and limited; `auto` gives one to entry points."""
    memory_mb: Annotated[int, Field(ge=64, le=1_048_576)] = 2048
    """Memory of its process. [MiB]"""
    token_env: Annotated[str, Field(pattern=r"^([A-Z][A-Z0-9_]*)?$")] = ""
    """Environment variable that holds the bearer token of an HTTP endpoint; the token itself is stored nowhere."""

    @property
    def has_own_process(self) -> bool:
        """Whether it runs in a process of its own."""
        return self.isolation == "process" or (
            self.isolation == "auto" and self.backend == "entry_point"
        )

    @field_validator("features")
    @classmethod
    def _features_can_be_read(cls, features: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(parse_feature(text).text for text in features)

    @model_validator(mode="after")
    def _url_of_an_endpoint(self) -> Self:
        if (
            self.backend == "http"
            and self.artifact
            and not self.artifact.startswith(("http://", "https://"))
        ):
            msg = f"artifact is {self.artifact!r}, expected the address of an endpoint. Write it like http://127.0.0.1:8000/predict"
            raise ValueError(msg)
        if self.backend == "http" and "@" in urlsplit(self.artifact).netloc:
            msg = "artifact holds a user or a password, and settings are no place for secrets. Name a variable with the token: token_env"
            raise ValueError(msg)
        return self
