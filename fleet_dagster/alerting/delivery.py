"""Delivery of one message to one address, by Apprise. Addresses are secret: nothing that is said here shows one."""

import functools
import logging
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from fleet_dagster.model.alerts import FROM_ENVIRONMENT, Destination, Severity
from fleet_dagster.model.errors import DeliveryError

if TYPE_CHECKING:
    from apprise import AppriseResult

TIME_LIMIT_S = 8.0
"""How long a receiver may take to accept a message."""
_TYPES: Mapping[str, str] = {"info": "info", "warning": "warning", "critical": "failure"}
_HOSTED = ("json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos")
"""Schemes whose host is a plain host name, which may be shown; in others it is often a token."""
_HIDDEN = "***"
SHORTEST_SECRET = 2
"""Parts of an address that are no longer than this are words of any sentence."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a destination's messages go, read from the environment if it says so."""

    name: str
    url: str

    @classmethod
    def of(cls, destination: Destination, environment: Mapping[str, str]) -> "Address":
        """Return a destination's address.

        Raises
        ------
        DeliveryError
            The environment variable that holds it is not set.
        """
        url = destination.url
        if url.startswith(FROM_ENVIRONMENT):
            variable = url.removeprefix(FROM_ENVIRONMENT)
            url = environment.get(variable, "")
            if not url:
                problem = f"environment variable {variable} is not set"
                advice = "Set it to the address where alerts are sent from: for Dagster, where its daemon runs"
                raise DeliveryError(destination.name, problem, advice)
        return cls(destination.name, url)

    def masked(self, text: str) -> str:
        """Return text without any part of the address that could be a secret."""
        for piece in sorted(self._secrets(), key=len, reverse=True):
            text = re.sub(rf"(?<!\w){re.escape(piece)}(?!\w)", _HIDDEN, text)
        return text

    def _secrets(self) -> set[str]:
        parts = urlsplit(self.url)
        place = [p for p in re.split(r"[:@]", parts.netloc) if not p.isdigit()]
        if parts.scheme.lower() in _HOSTED:
            place = place[:-1]
        values = [value for _, value in parse_qsl(parts.query)]
        pieces = [*place, *parts.path.split("/"), *values, parts.fragment]
        found = {p for one in pieces for p in (one, unquote(one))}
        return {p for p in found if len(p) > SHORTEST_SECRET or not p.isalnum()} - {""}


def send(address: Address, *, title: str, body: str, severity: Severity) -> None:
    """Send a message.

    Raises
    ------
    DeliveryError
        The receiver did not accept it in time, or the address cannot be used. The text names no address.
    """
    apprise = load_apprise(address.name)
    asset = apprise.AppriseAsset(app_id="Fleet Dagster", app_desc="Fleet Dagster", async_mode=False)
    sender = apprise.Apprise(asset=asset)
    if not sender.add(address.url):
        problem = "Apprise does not understand the address"
        advice = "See https://appriseit.com for how addresses of its service are written"
        raise DeliveryError(address.name, problem, advice)
    result = sender.notify(
        title=title,
        body=body,
        notify_type=_TYPES[severity],
        body_format=apprise.NotifyFormat.TEXT,
        timeout=TIME_LIMIT_S,
    )
    if not result:
        raise DeliveryError(address.name, address.masked(_reason(result)), "It is tried again")


def load_apprise(destination: str) -> Any:  # Any: a module that is loaded when it is needed
    """Load Apprise and all that it can send to, which takes a moment; not in several threads at once.

    Raises
    ------
    DeliveryError
        It is not installed.
    """
    try:
        return _loaded()
    except ImportError as error:
        problem = "messages are sent by Apprise, which is not installed"
        raise DeliveryError(
            destination, problem, "Install it: pip install 'fleet-dagster[alerts]'"
        ) from error


@functools.cache
def _loaded() -> Any:  # Any: a module
    import apprise  # noqa: PLC0415 - an extra, which takes a moment

    loaded: Any = apprise  # Any: parts of it have no types
    with warnings.catch_warnings():  # its plugins look for modules that Python is about to drop
        warnings.simplefilter("ignore", DeprecationWarning)
        loaded.NotificationManager().load_modules()
    # Its log goes nowhere: at some levels it spells addresses out. What went wrong is in the result.
    logging.getLogger(apprise.LOGGER_NAME).propagate = False
    return loaded


def _reason(result: "AppriseResult") -> str:
    said = [entry.message.strip().rstrip(".") for entry in result.logs()]
    if result.timeout_count:
        said.append(f"no answer within {TIME_LIMIT_S:g} s")
    return "; ".join(dict.fromkeys(said)) or "the receiver did not accept it"
