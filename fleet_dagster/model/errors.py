"""Every error the package raises on purpose: each says who, what was found, what was expected, what to do."""

from collections.abc import Sequence


class FleetError(Exception):
    """Base of every error that Fleet Dagster raises on purpose."""


class ConfigError(FleetError, ValueError):
    """A fleet's configuration breaks a rule; lists every problem at once."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = tuple(problems)
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{source} is not a valid fleet configuration:\n{lines}")


class RuleError(FleetError, ValueError):
    """Values of a configuration do not go together; names where each stands and what to do."""

    def __init__(self, rules: Sequence[tuple[tuple[str | int, ...], str]]) -> None:
        self.rules = tuple(rules)
        super().__init__("; ".join(sentence for _, sentence in self.rules))


class ShapeError(FleetError, ValueError):
    """An array has another shape than the formula needs."""

    def __init__(self, name: str, found: tuple[int, ...], expected: str) -> None:
        self.name, self.found, self.expected = name, found, expected
        super().__init__(f"`{name}` has shape {found}, expected {expected}")


class FrameError(FleetError, ValueError):
    """A data frame lacks a column, repeats one, or holds rows that a node cannot use."""

    def __init__(self, frame: str, problem: str, advice: str) -> None:
        self.frame, self.problem, self.advice = frame, problem, advice
        super().__init__(f"{frame}: {problem}. {advice}")


class SourceError(FleetError, ValueError):
    """A telemetry file cannot be read as a whole; nothing of it was landed."""

    def __init__(self, source: str, problem: str, advice: str) -> None:
        self.source, self.problem, self.advice = source, problem, advice
        super().__init__(f"{source}: {problem}. {advice}")


class SpanError(FleetError, ValueError):
    """A span of time is empty, reversed, or not made of whole windows."""


class UnknownFleetError(FleetError, LookupError):
    """A fleet was named that no configuration defines."""

    def __init__(self, fleet: str, known: Sequence[str], invalid: Sequence[str] = ()) -> None:
        self.fleet, self.known, self.invalid = fleet, tuple(known), tuple(invalid)
        have = ", ".join(sorted(known)) or "none"
        if invalid:
            have += f"; invalid files, see `fleet validate`: {', '.join(invalid)}"
        super().__init__(
            f"Fleet {fleet!r} is not defined; defined fleets: {have}. "
            "Name one of them, or add a YAML file to the fleets folder (`fleet init`)."
        )


class LeaseError(FleetError, TimeoutError):
    """Another writer kept the lease on a day of a table for longer than we wait."""

    def __init__(self, key: str, holder: str, waited_s: float) -> None:
        self.key, self.holder, self.waited_s = key, holder, waited_s
        super().__init__(
            f"{key} is held by {holder}; waited {waited_s:.0f} s for it. Wait for that run to end, "
            "or end it: the lease of a dead process is taken over at once."
        )

    @classmethod
    def lost(cls, holder: str) -> "LeaseError":
        """Return the error of a writer whose leases another took over while it was not heard of."""
        error = cls("", holder, 0.0)
        error.args = (
            (
                f"The leases of {holder} were taken over: it had not renewed them in time. "
                "What it was about to write was not written. Run the same again."
            ),
        )
        return error


class ExpiredError(FleetError, ValueError):
    """A window's telemetry has passed its retention, so the window is never recomputed."""

    def __init__(self, fleet: str, days: Sequence[str], retention_days: int) -> None:
        self.fleet, self.days, self.retention_days = fleet, tuple(days), retention_days
        super().__init__(
            f"Telemetry of fleet {fleet!r} for {', '.join(days)} has expired (kept {retention_days} days "
            "after receipt). The stored rows stand as they are; ask for a later span."
        )


class StormError(FleetError, ValueError):
    """A storm episode cannot be recorded, ended or removed as asked."""

    def __init__(self, fleet: str, problem: str, advice: str) -> None:
        self.fleet, self.problem, self.advice = fleet, problem, advice
        super().__init__(f"Fleet {fleet!r}: {problem}. {advice}.")


class StreamError(FleetError, ValueError):
    """A stream cannot be followed as asked."""

    def __init__(self, stream: str, problem: str, advice: str) -> None:
        self.stream, self.problem, self.advice = stream, problem, advice
        super().__init__(f"{stream}: {problem}. {advice}.")


class AlertError(FleetError, ValueError):
    """An alert, a silence or a destination was named that there is not, or cannot be used as asked."""

    def __init__(self, what: str, problem: str, advice: str) -> None:
        self.what, self.problem, self.advice = what, problem, advice
        super().__init__(f"{what}: {problem}. {advice}.")


class DeliveryError(FleetError, OSError):
    """A message did not reach its destination; the text shows no address."""

    def __init__(self, destination: str, problem: str, advice: str) -> None:
        self.destination, self.problem, self.advice = destination, problem, advice
        super().__init__(f"Destination {destination!r}: {problem}. {advice}.")


class StorageError(FleetError, OSError):
    """The lake or the control database cannot be read or written."""


class ModelError(FleetError, ValueError):
    """A model cannot be registered, loaded or asked."""

    def __init__(self, model: str, problem: str, advice: str) -> None:
        self.model, self.problem, self.advice = model, problem, advice
        super().__init__(f"{model}: {problem}. {advice}")


class LedgerError(FleetError, ValueError):
    """A ledger, one of its notes, proofs or keys is not what it must be, or cannot be used as asked."""

    def __init__(self, what: str, problem: str, advice: str) -> None:
        self.what, self.problem, self.advice = what, problem, advice
        super().__init__(f"{what}: {problem}. {advice}.")


class ServingError(FleetError, ValueError):
    """A web server cannot be started as asked."""

    def __init__(self, what: str, problem: str, advice: str) -> None:
        self.what, self.problem, self.advice = what, problem, advice
        super().__init__(f"{what}: {problem}. {advice}.")
