"""`python -m fleet_dagster.reference_models build [FOLDER]`: builds, measures and describes all reference models."""

import time
from collections.abc import Sequence
from pathlib import Path

import click

from fleet_dagster.reference_models import NAMES
from fleet_dagster.reference_models.cards import Card, card, index
from fleet_dagster.reference_models.recipes import RECIPES
from fleet_dagster.reference_models.simulated_weeks import SimulatedWeek, evaluated
from fleet_dagster.reference_models.training import (
    learnt_rule,
    measured,
    measuring_weeks,
    sample,
    train,
    training_weeks,
)

FOLDER = Path(".fleet/reference_models")


@click.group()
def main() -> None:
    """Build the reference models of an energy fleet."""


@main.command(name="build")
@click.argument("folder", type=click.Path(path_type=Path), default=FOLDER)
@click.option(
    "--cards",
    type=click.Path(path_type=Path),
    help="Folder of the model cards.  [default: beside the files]",
)
@click.option("--processes", default=2, show_default=True, help="Simulations at the same time.")
def build_all(folder: Path, cards: Path | None, processes: int) -> None:
    """Train all models, write their files to FOLDER, measure them on fresh fleets and write their cards."""
    began = time.monotonic()
    training, measuring = training_weeks(), measuring_weeks()
    weeks = evaluated([*training, *measuring], processes)
    known, fresh = weeks[: len(training)], weeks[len(training) :]
    click.echo(f"{len(weeks)} fleets simulated and evaluated in {time.monotonic() - began:.0f} s")
    written = [describe(name, folder, known, fresh) for name in NAMES]
    place = cards or folder
    place.mkdir(parents=True, exist_ok=True)
    for one in written:
        (place / f"{one.recipe.name}.md").write_text(card(one), encoding="utf-8")
    (place / "index.md").write_text(index(written), encoding="utf-8")
    click.echo(f"done in {time.monotonic() - began:.0f} s; cards in {place}")


def describe(
    name: str, folder: Path, known: Sequence[SimulatedWeek], fresh: Sequence[SimulatedWeek]
) -> Card:
    """Build one model and measure it."""
    recipe = RECIPES[name]
    path = train(name, folder, known).path
    learnt = sample(recipe, known)
    answers = measured(recipe, path, learnt_rule(recipe, learnt), fresh)
    one = Card(recipe, learnt, answers, path.stat().st_size)
    best = one.deciding
    click.echo(f"{path}: {best.name} {best.model:.3f}, rule of thumb {best.rule:.3f}")
    return one


if __name__ == "__main__":
    main()
