"""The options that describe a model to `fleet slots`."""

from pathlib import Path

import click

from fleet_dagster.cli.place import Decorated
from fleet_dagster.model.slots import BACKENDS


def model_options(command: Decorated) -> Decorated:
    """Add the options that describe a model; what is not given stays as it is."""
    options = (
        click.option("--version", help="Version of the model. [default: 1]"),
        click.option("--domain", help="KPI domain whose sites it sees. [default: all]"),
        click.option(
            "--backend", type=click.Choice(BACKENDS), help="How it runs. [default: sklearn]"
        ),
        click.option(
            "--file",
            "path",
            type=click.Path(dir_okay=False, path_type=Path),
            help="File of the model; it is copied into the models folder, and pinned by its SHA-256.",
        ),
        click.option(
            "--artifact",
            help="Address of an HTTP endpoint, or name of an entry point, instead of a file.",
        ),
        click.option(
            "--feature",
            "features",
            multiple=True,
            metavar="FEATURE",
            help="What it is fed, in the order of training; repeat it. power_kw, power_kw@3, 'mean(power_kw, 10)', 'region(power_kw)', site.status",
        ),
        click.option(
            "--output",
            type=click.Choice(["value", "probability", "class"]),
            help="What it returns. [default: value]",
        ),
        click.option(
            "--missing",
            type=click.Choice(["refuse", "pass"]),
            help="Where an input is absent: not asked, or given NaN. [default: refuse]",
        ),
        click.option(
            "--rate-limit",
            "rate_limit_hz",
            type=float,
            help="Inferences per second of event time. [default: 10]",
        ),
        click.option(
            "--confidence",
            "confidence_threshold",
            type=float,
            help="Confidence from which results are accepted. [default: 0.5]",
        ),
        click.option(
            "--timeout",
            "timeout_s",
            type=float,
            help="Seconds that one call may take; it asks about up to an hour's windows. [default: 5]",
        ),
        click.option(
            "--isolation",
            type=click.Choice(["auto", "thread", "process"]),
            help="Where it runs. [default: auto: a process of its own for entry points]",
        ),
        click.option(
            "--memory", "memory_mb", type=int, help="Memory of its process in MiB. [default: 2048]"
        ),
        click.option(
            "--token-env", help="Environment variable that holds the endpoint's bearer token."
        ),
        click.option("--no-dry-run", is_flag=True, help="Register it without trying it out."),
    )
    for option in reversed(options):
        command = option(command)
    return command
