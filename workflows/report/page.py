"""The page: cards and tables of a `Story` put into one HTML file that needs nothing but itself."""

from __future__ import annotations

import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

from . import coverage, effort, headline, losses, quality, trust
from .canvas import COLOURS, Card
from .decisions import decisions
from .story import Story

DARK = {
    "ink": "#e4e9ee",
    "mute": "#9aa7b4",
    "rule": "#33404d",
    "deviation": "#f08a5a",
    "random": "#62aee8",
    "after": "#8b98a6",
    "data": "#4fb3bb",
    "c0": "#7ea6d0",
    "c1": "#f5a352",
    "c2": "#7fc377",
    "c3": "#c79abf",
    "c4": "#ef8083",
    "c5": "#bd9482",
}
"""The colours of figures on a dark page."""


def page(story: Story) -> str:
    """The whole HTML document."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=unbroken
    )
    template = environment.from_string(files(__package__).joinpath("page.html.j2").read_text(encoding="utf-8"))
    return template.render(**contents(story))


def contents(story: Story) -> dict[str, Any]:
    """What the template shows."""
    kind, state = headline.badge(story)
    return {
        "summary": story.summary,
        "profile": story.profile,
        "moment": f"{story.moment:%Y-%m-%d %H:%M} UTC",
        "began": f"{story.began:%Y-%m-%d %H:%M} UTC",
        "light": COLOURS,
        "dark": DARK,
        "kind": kind,
        "state": state,
        "elements": headline.elements(story),
        "labels_by": headline.labels_by(story.settings),
        "lead": headline.lead(story),
        "ending": headline.ending(story),
        "figures": headline.key_figures(story),
        "parts": headline.parts_rows(story),
        "learning": [
            *(quality.learning_curve(story, name) for name in quality.QUANTITIES),
            quality.element_card(story),
        ],
        "parity": [quality.parity(story, name) for name in quality.QUANTITIES],
        "trust": [trust.deviation_card(story), trust.calibration_card(story)],
        "verdict": trust.verdict(story),
        "trust_rows": trust.trust_rows(story),
        "account": losses.account(story),
        "coverage": covered(story),
        "likeness": coverage.likeness(story),
        "sources": coverage.sources(story),
        "met": [effort.ends_card(story), effort.verdicts_card(story), effort.chosen_card(story)],
        "effort": [effort.time_card(story), effort.cost_card(story)],
        "budget": effort.budget_rows(story),
        "decisions": decisions(story),
        "said": [line for line in story.said if line.process not in story.family],
        "provenance": story.provenance,
        "document": document(story),
    }


def document(story: Story) -> str:
    """The campaign file as it was launched, or for campaigns that did not keep it all settings, as YAML."""
    import yaml

    shown = story.settings.get("campaign") or dict(story.settings)
    return yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=100)


def unbroken(value: Any) -> Any:
    """Units stay on one line: a browser may break at a slash."""
    return value.replace("/Å", "/\u2060Å").replace("meV/a", "meV/\u2060a") if type(value) is str else value


def covered(story: Story) -> list[Card]:
    """The cards on what was labelled."""
    sizes = [coverage.pairs_card(story), coverage.atoms_card(story), coverage.species_card(story)]
    return [*sizes, coverage.volume_card(story), coverage.energy_card(story), coverage.force_card(story)]


def write(story: Story, path: Path) -> None:
    """Write the page, whole or not at all; an OSError if the folder cannot be written to."""
    text = page(story)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as handle:
        handle.write(text)
    partial = Path(handle.name)
    partial.chmod(0o644)
    partial.replace(path)
