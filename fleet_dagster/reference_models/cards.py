"""Model cards: what a reference model is for, how it was made, how good it is, and when to leave it alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from fleet_dagster.reference_models.recipe import Answers, Figure, Recipe
from fleet_dagster.reference_models.simulated_weeks import FAULTS, SimulatedWeek
from fleet_dagster.reference_models.training import EVERY, MEASURING_SEEDS, TRAINING_SEEDS, Sample

_HEAD = "<!-- Written by `make models`. Change the recipe, not this page. -->\n"


@dataclass(frozen=True)
class Card:
    """What is known of one built model."""

    recipe: Recipe
    learnt: Sample
    answers: Answers
    n_bytes: int

    @property
    def deciding(self) -> Figure:
        """The figure by which the model has to beat its rule of thumb."""
        return self.recipe.figures(self.judged)[0]

    @property
    def judged(self) -> Answers:
        """The answers that matter most."""
        return self.answers if self.recipe.focus is None else self.answers.within_focus()


def card(one: Card) -> str:
    """Return a model's card."""
    recipe = one.recipe
    return "\n".join(
        [
            f"{_HEAD}# {recipe.title}\n\n{recipe.predicts}\n",
            f"```text\nfleet slots add FLEET --reference {recipe.name}\n```\n",
            _settings(one),
            f"## What it was taught\n\n{_taught(one)}\n",
            f"## How good it is\n\n{_measured(one)}\n",
            "## When not to use it\n",
            *(f"- {line}" for line in (*recipe.advice, *_COMMON)),
            "",
        ]
    )


def index(cards: Sequence[Card]) -> str:
    """Return the page that lists the models."""
    rows = [
        (f"[{c.recipe.title}]({c.recipe.name}.md)", c.recipe.predicts, *_cells(c.deciding))
        for c in cards
    ]
    head = ("model", "answers with", "figure", "model", "rule of thumb")
    return f"{_HEAD}# Reference models\n\n{_INTRO}\n\n{_table(head, rows)}"


_INTRO = """\
Six small models for an energy fleet, trained on the simulator's thermoelectric sites. They show the way from features to
accepted answers, and are a start where there is no model yet. They are no product of an operator's experience: before you
trust one on a real fleet, measure it there, or [train your own](../../how-to/bring-your-own-model.md).

`fleet slots add FLEET --reference NAME` builds one at its first use, which takes a minute or two; `make models` builds and
measures all of them. Every figure is of fleets that the model was not trained on, beside what a rule of thumb achieves there."""
_COMMON = (
    "It was trained on windows of a minute and on the simulator's plants, ranges (`lo`, `hi`) and noise. On anything else it is a guess.",
    "Faults were planted far more often than they happen: shares and probabilities are too high where faults are rare, order is not.",
)


def _settings(one: Card) -> str:
    recipe = one.recipe
    rows = [
        ("backend", f"`{recipe.backend}`, {one.n_bytes / 1000:,.0f} kB"),
        ("domain", f"`{recipe.domain}`"),
        ("output", f"`{recipe.output}`"),
        ("where an input is absent", f"`{recipe.missing}`"),
        ("accepted from a confidence of", f"{recipe.confidence_threshold:g}"),
        ("features", ", ".join(f"`{feature}`" for feature in recipe.features)),
    ]
    return _table(("", ""), rows)


def _taught(one: Card) -> str:
    week = SimulatedWeek(TRAINING_SEEDS[0])
    faults = ", ".join(f"{rate:g} {kind}" for kind, rate in FAULTS.items())
    return (
        f"The truth of the simulator: {one.recipe.label}.\n\n"
        f"Learnt from {len(one.learnt.truth):,} site-windows, every {EVERY}th of {len(TRAINING_SEEDS)} fleets (seeds "
        f"{TRAINING_SEEDS[0]} to {TRAINING_SEEDS[-1]}) of {week.n_sites} sites in {week.n_regions} regions, {week.n_days} days each after "
        f"{week.history_days} days of history. Planted faults a day and fleet: {faults}. The inputs are those that a slot is "
        "given, computed by the same code."
    )


def _measured(one: Card) -> str:
    recipe, answers = one.recipe, one.answers
    text = (
        f"On {answers.truth.size:,} site-windows of {len(MEASURING_SEEDS)} other fleets (seeds {MEASURING_SEEDS[0]} to "
        f"{MEASURING_SEEDS[-1]}), with scikit-learn {version('scikit-learn')}. The rule of thumb: {recipe.rule_words}."
    )
    if recipe.output == "probability":
        text += f" The label is 1 in {100 * answers.truth.mean():.1f} % of them."
    parts = [text, "", _figures(recipe.figures(answers))]
    if recipe.focus is not None:
        share = 100 * answers.is_focus.mean()
        rows = recipe.figures(answers.within_focus())
        parts += [f"In {recipe.focus_words} ({share:.1f} % of them):", "", _figures(rows)]
    return "\n".join(parts)


def _figures(figures: Sequence[Figure]) -> str:
    return _table(("figure", "model", "rule of thumb"), [_cells(figure) for figure in figures])


def _cells(figure: Figure) -> tuple[str, str, str]:
    return figure.name, _number(figure.model), _number(figure.rule)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"  # noqa: PLR2004 - digits that tell


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
