"""argonaut plot: one picture of how good the committee is on labels it had not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ...mlip.cli.given import OUTPUT_FILE
from .profile import open_profile, profile_option


@click.command()
@click.argument("campaign", metavar="PK")
@profile_option
@click.option("-o", "--output", type=OUTPUT_FILE, required=True, help="*.png, *.pdf, *.svg")
def plot(campaign: str, profile: str | None, output: Path) -> None:
    """Parity of forces and energies, and deviation against error, on the fresh labels of campaign PK.

    All predictions shown were made before their configurations were labelled.

    \b
    Example: argonaut plot 42 -o fresh.png
    """
    open_profile(profile)
    from ...provenance_db.queries import load_campaign

    draw(load_campaign(campaign), output)
    click.echo(str(output))


def draw(campaign: Any, output: Path) -> None:
    """Write the plot; ValueError if the campaign has no fresh labels with predictions yet."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from aiida import orm
    from ase.data import atomic_numbers

    from ...mlip.fresh_plot import draw_fresh
    from ...provenance_db.queries import iterations, references

    batches = []
    for node in iterations(campaign):
        outputs: dict[str, Any] = {link.link_label: link.node for link in node.base.links.get_outgoing().all()}
        if isinstance(outputs.get("errors"), orm.Dict) and "before" in outputs["errors"].get_dict():
            predicted = outputs["candidates"].predicted_frames()
            known = {frame.configuration.configuration_id for frame in predicted}
            labels = outputs["labels"].dataset().frames
            fresh = [label for label in labels if label.configuration.configuration_id in known]
            batches.append((f"iteration {outputs['plan']['iteration']}", fresh, predicted))
    if not batches:
        raise ValueError(
            f"campaign {campaign.pk} has no fresh labels with predictions yet; the first come with iteration 1"
        )
    given = references(iterations(campaign))
    energies = None if given is None else {atomic_numbers[name]: value for name, value in given.get_dict().items()}
    figure = draw_fresh(batches, energies)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=150)
    plt.close(figure)
