"""`fleet`: the list of commands, and how they are found, fail and end. No command is imported before it is called."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.model.errors import FleetError, LeaseError, StorageError

COMMANDS: Mapping[str, tuple[str, str]] = {
    "init": ("setup:init", "Write a new fleet's file, ready to edit."),
    "validate": ("setup:validate", "Check fleet files; every problem is named with its line."),
    "config": (
        "configuration:config",
        "Put settings in force without a restart, and show what was changed when.",
    ),
    "regions": (
        "regions:regions",
        "Show and change which site lies in which region, without a restart.",
    ),
    "slots": (
        "slots:slots",
        "Register AI models, try them out, and put them in and out of use, without a restart.",
    ),
    "simulate": (
        "land:simulate",
        "Make demo telemetry with planted faults, and the truth about them.",
    ),
    "import": ("land:import_", "Land telemetry from CSV, JSON Lines or Parquet files."),
    "run": ("run:run", "Compute a fleet's windows through Dagster, and wait."),
    "up": (
        "up:up",
        "Start the dashboard, the live engine and Dagster, with a demo fleet if there is none.",
    ),
    "live": (
        "live:live",
        "Keep fleets current: every window is computed as soon as it has closed.",
    ),
    "status": ("status:status", "Show how healthy a fleet is, and how fresh that is."),
    "console": (
        "console:console",
        "Watch a fleet in the terminal: health, regions, worst sites, open incidents.",
    ),
    "dashboard": (
        "dashboard:dashboard",
        "Serve the web page of the fleets as they are now, pushed as it is computed.",
    ),
    "tokens": (
        "tokens:tokens",
        "Make, list and revoke what people and programs log in to the dashboard with.",
    ),
    "storm": ("storm:storm", "Show, begin, end or find storms, in which KPIs are sampled."),
    "streams": (
        "streams:streams",
        "Show what can be followed of every fleet, and by whom; move and remove consumers.",
    ),
    "consume": (
        "consume:consume",
        "Read a stream in the order of commit, from where the consumer left off.",
    ),
    "retention": (
        "retention:retention",
        "Remove the days of a fleet's tables and telemetry whose retention is over.",
    ),
    "alerts": (
        "alerts:alerts",
        "Show what needs somebody, acknowledge and silence alerts, and send messages.",
    ),
    "metrics": (
        "metrics:metrics",
        "Print the figures of all fleets and their nodes in OpenMetrics' text format, or serve them to Prometheus.",
    ),
    "witness": (
        "witness:witness",
        "Vouch for other people's ledgers: that they only grew, and nothing in them was rewritten.",
    ),
    "ledger": (
        "ledger:ledger",
        "Record a fleet's history so that it cannot be rewritten silently, look at it, and hand it to others.",
    ),
    "verify": (
        "verify:verify",
        "Check a fleet's ledger, offline: every stored byte, root and signature, who vouched, and the rows of fleet_kpi.",
    ),
    "keys": ("keys:keys", "Make, show and change the keys that sign a fleet's ledger."),
    "export": ("export:export", "Write a table's rows to a CSV or Parquet file."),
    "training-set": (
        "training_set:training_set",
        "Write site-windows as training data, with what people said of incidents as labels.",
    ),
    "doctor": ("doctor:doctor", "Check the installation, and say what to do."),
}
"""Each command's home and one line about it; a test keeps the lines equal to the commands' own."""

EXIT_NO, EXIT_WRONG_USE = 1, 2


class Refusal(click.ClickException):
    """An error on purpose, shown as it is."""

    def __init__(self, error: FleetError) -> None:
        super().__init__(str(error))
        is_answer = isinstance(error, StorageError | LeaseError)
        self.exit_code = EXIT_NO if is_answer else EXIT_WRONG_USE  # type: ignore[misc] # click reads it from the instance


class Commands(click.Group):
    """A group that knows its commands by name and loads one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands in the order of a first day."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Load a command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(import_module(f"fleet_dagster.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """List the commands without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:  # Any: click's signature
        """Run a command; an error on purpose is one message and an exit code."""
        try:
            return super().invoke(ctx)
        except FleetError as error:
            raise Refusal(error) from error
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Refusal(_cannot_use(error)) from error


def _cannot_use(error: OSError) -> StorageError:
    where = error.filename or "a file or folder"
    return StorageError(
        f"{where} cannot be used: {error.strerror or error}. Check the path, its permissions and the disk"
    )


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fleet-dagster", prog_name="fleet")
@installation_options
@click.pass_context
def main(ctx: click.Context) -> None:
    """Tell how healthy a fleet is, which site is the odd one out, and how fresh that is.

    Exit codes: 0 fine, 1 the answer is no, 2 wrong use or bad input.
    """
    ctx.ensure_object(Place)


if __name__ == "__main__":
    main(prog_name="fleet")
