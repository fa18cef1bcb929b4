"""argonaut contract: does an architecture hold what molecular dynamics and training need?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .given import FRAMES, IMPORT

if TYPE_CHECKING:
    from ..contract import Outcome


@click.command()
@click.argument("architecture", required=False)
@click.option("--preset", help="One preset rather than all.")
@IMPORT
@click.option(
    "--model",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A trained model, whose first member is checked in place of random weights.",
)
@click.option("--start", type=FRAMES, help="With --model: the drift of a trajectory that starts at its first frame.")
@click.option("--temperature", default=300.0, show_default=True, help="K, with --start.")
@click.option("--seed", default=0, show_default=True, help="Of the random weights.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcomes as JSON.")
@click.pass_context
def contract(
    context: click.Context,
    architecture: str | None,
    preset: str | None,
    model: Path | None,
    start: Path | None,
    temperature: float,
    seed: int,
    as_json: bool,
) -> None:
    """Check ARCHITECTURE, or all there are, against the contract: symmetries, derivatives, smoothness, extensivity.

    Every check is held, a documented exception of that preset, or failed; if any has failed, the exit code is 1.

    \b
    Examples:
      argonaut contract leignn --preset campaign
      argonaut contract mine --import my_module
      argonaut contract --model model --start frames.extxyz
    """
    if model is not None and (architecture or preset):
        raise click.UsageError("--model says which architecture and preset; give neither beside it")
    if start is not None and model is None:
        raise click.UsageError("--start needs --model: an untrained potential has no dynamics worth measuring")
    reports = _of_model(model, start, temperature) if model else _of_presets(architecture, preset, seed)
    click.echo(json.dumps(reports, indent=2) if as_json else "\n\n".join(_text(report) for report in reports))
    if any(outcome["status"] == "failed" for report in reports for outcome in report["outcomes"]):
        context.exit(1)


def _of_presets(name: str | None, preset: str | None, seed: int) -> list[dict[str, Any]]:
    from ..contract import check
    from ..potential import architecture_names, get_architecture

    reports = []
    for architecture in [get_architecture(each) for each in ([name] if name else architecture_names())]:
        for each in [preset] if preset else architecture.presets:
            reports.append(_report(architecture.name, each, check(architecture, each, seed=seed)))
    return reports


def _of_model(model: Path, start: Path | None, temperature: float) -> list[dict[str, Any]]:
    """The first member of every network; the drift, which is one of the whole committee, beside the first."""
    from ..committee import Committee
    from ..contract import check
    from ..contract.drift import measured
    from ..frames import read_configurations

    committee = Committee.load(model)
    reports: list[dict[str, Any]] = []
    seen: list[Any] = []
    for kind, weights in zip(committee.networks, committee.members, strict=True):
        if kind in seen:
            continue
        seen.append(kind)
        outcomes = check(kind.architecture, kind.preset, kind.config, weights)
        if start is not None and not reports:
            outcomes.append(measured(committee, read_configurations(start)[0], temperature))
        reports.append(_report(kind.architecture.name, kind.preset, outcomes))
    return reports


def _report(architecture: str, preset: str, outcomes: list[Outcome]) -> dict[str, Any]:
    from dataclasses import asdict

    return {"architecture": architecture, "preset": preset, "outcomes": [asdict(outcome) for outcome in outcomes]}


def _text(report: dict[str, Any]) -> str:
    from ..contract import Outcome

    outcomes = [Outcome(**outcome) for outcome in report["outcomes"]]
    counts = {status: sum(o.status == status for o in outcomes) for status in ("held", "exception", "failed")}
    summary = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return "\n".join([f"{report['architecture']}, {report['preset']}: {summary}", *(f"  {o}" for o in outcomes)])
