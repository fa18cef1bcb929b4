"""argonaut label: structures in, DFT labels out, through AiiDA but without a campaign."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ...mlip.cli.given import FRAMES, OUTPUT_FILE, companion, writing
from ...mlip.cli.progress import Progress
from ..setup import SetupError
from .profile import daemon_is_running, open_profile, profile_option, shell_lines, submitted
from .watching import Pause

POLL_SECONDS = 2.0
MOST_TOLD = 20
"""Losses that are printed; the account has them all."""
WITH_PK = ("structures", "pk", "output", "profile", "as_json")
"""Parameters that mean something where labels are asked for already."""


@click.command()
@click.argument("structures", nargs=-1, type=FRAMES)
@click.option("-o", "--output", type=OUTPUT_FILE, help="File of labelled frames to write, *.extxyz.")
@click.option(
    "--protocol", default="balanced", show_default=True, metavar="NAME|FILE",
    help="fast, balanced, stringent, or a YAML file of protocol values.",
)  # fmt: skip
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Change a value of the protocol.")
@click.option("--spin", type=click.Choice(["none", "collinear"]), help="Default: the protocol's own choice.")
@click.option("--family", help="Installed aiida-pseudo family. [default: the embedded one]")
@click.option("--elements", default="", help="H,C,O: count for cutoffs and protocol even where no structure has them.")
@click.option(
    "--reference-atoms/--no-reference-atoms", default=False, help="Label an isolated atom of each element, too."
)
@click.option("--box", type=click.FloatRange(0.5, 100.0), metavar="VACUUM", help="Å of vacuum around what has no cell.")
@click.option("--max-jobs", type=click.IntRange(1), help="Labels in flight at a time. [default: 2]")
@click.option("--code", help="AiiDA code of pw.x. [default: pw@localhost]")
@click.option("--pw-version", help="Of a code that `argonaut setup` has not seen, such as 7.4.")
@click.option(
    "--options", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML of AiiDA's scheduler options: resources, queue_name, max_wallclock_seconds ...",
)  # fmt: skip
@click.option("--pk", metavar="PK", help="Follow and collect labels that were asked for earlier.")
@click.option("--dry-run", is_flag=True, help="Submit nothing: tell number, cutoffs, protocol and price.")
@click.option("--json", "as_json", is_flag=True, help="Print the account, or with --dry-run the price, as JSON.")
@profile_option
@click.pass_context
def label(ctx: click.Context, structures: tuple[Path, ...], output: Path | None, **given: Any) -> None:
    """Label STRUCTURES with pw.x and write them to OUT.extxyz.

    STRUCTURES are extended XYZ, folders that `generate` has written, CIF, POSCAR, pymatgen JSON or any of ASE's
    formats; labels in them are left behind. One LabelWorkChain is submitted to the daemon and followed. OUT.losses.json
    tells what became of every structure, with the protocol and the units; with any loss the exit code is 1. Ctrl-C ends
    the following, not the labelling.

    \b
    Examples:
      argonaut label starts.extxyz more.cif -o labels.extxyz --protocol balanced --max-jobs 4
      argonaut label starts.extxyz --protocol fast --set kpoints_spacing=0.5 --dry-run
      argonaut label --pk 42 -o labels.extxyz
    """
    _check_words(ctx, structures, output, given)
    if given["pk"] is not None:
        assert output is not None
        collect(given["pk"], output, open_profile(given["profile"]), given["as_json"])
        return
    from ..label_structures import read_given

    if output is not None and output.resolve() in [path.resolve() for path in structures]:
        raise click.UsageError(f"-o {output} is one of the files to read; write elsewhere")
    read = read_given(structures, given["box"])
    profile = open_profile(given["profile"])
    builder = _builder(read, given)
    if given["dry_run"]:
        from ..label_alone import preview

        tell_preview(preview(builder, read), given["as_json"])
        return
    assert output is not None
    builder.metadata.label = output.stem
    pk = submit_labels(builder, profile)
    collect(str(pk), output, profile, given["as_json"])


def _check_words(ctx: click.Context, structures: tuple[Path, ...], output: Path | None, given: dict[str, Any]) -> None:
    """Refuse what does not go together."""
    if given["pk"] is not None:
        said = [
            parameter for parameter in ctx.params
            if parameter not in WITH_PK and ctx.get_parameter_source(parameter) == ParameterSource.COMMANDLINE
        ]  # fmt: skip
        if structures or said:
            raise click.UsageError("--pk takes labels that were asked for earlier: only -o, --json and -p go with it")
    elif not structures:
        raise click.UsageError("expected STRUCTURES to label, or --pk")
    if output is None:
        if not given["dry_run"]:
            raise click.UsageError("expected -o OUT.extxyz")
    elif output.suffix != ".extxyz":
        raise click.UsageError(f"-o {output}: expected a name that ends in .extxyz")
    else:
        companion(output, ".losses.json")


def _builder(read: Any, given: dict[str, Any]) -> Any:
    """Builder of the work chain that the command line asks for."""
    from ase.data import atomic_numbers

    from ...mlip.settings import read_mapping
    from ...mlip.units import Z_MAX
    from ..label_alone import label_builder, label_config

    elements = [symbol.strip() for symbol in given["elements"].split(",") if symbol.strip()]
    unknown = [symbol for symbol in elements if not 1 <= atomic_numbers.get(symbol, 0) <= Z_MAX]
    if unknown:
        raise click.UsageError(f"--elements: {', '.join(unknown)} is not among H-Ar; expected symbols such as H,C,O")
    others = {key: given[key] for key in ("spin", "family", "max_jobs", "pw_version", "reference_atoms")}
    config = label_config(given["protocol"], given["assignments"], **others)
    options = read_mapping(given["options"]) if given["options"] else {}
    return label_builder(read, config, given["code"], options, elements)


def submit_labels(builder: Any, profile: str) -> int:
    """Submit the work chain and return its pk; SetupError where no daemon would take it, or it is at work already."""
    from ..label_alone import unfinished_twin

    if not daemon_is_running():
        raise SetupError(
            f"the daemon of profile {profile} is not running; start it with `verdi -p {profile} daemon start`"
        )
    twin = unfinished_twin(builder)
    if twin is not None:
        raise SetupError(
            f"work chain {twin} is labelling the same structures by the same protocol now; "
            f"`argonaut label --pk {twin} -o OUT.extxyz` follows it"
        )
    return submitted(builder, profile)


def collect(identifier: str, output: Path, profile: str, as_json: bool) -> None:
    """Follow a work chain to its end, write its labels and its account, and tell of them."""
    from ..endings import told_end
    from ..label_account import write_results
    from ..label_alone import load_label_chain

    node = load_label_chain(identifier)
    again = f"argonaut label -p {profile} --pk {node.pk} -o {shlex.quote(str(output))}"
    try:
        if not node.is_terminated:
            click.echo(f"work chain {node.pk} is at work; after an interrupt `{again}` goes on with it", err=True)
            follow(node.pk, profile)
    except KeyboardInterrupt:
        click.echo(f"work chain {node.pk} goes on without you. From a new shell:", err=True)
        for line in shell_lines(profile, [again, f"verdi -p PROFILE process kill {node.pk}   # to end it"]):
            click.echo(f"  {line}", err=True)
        raise
    node = load_label_chain(identifier)
    if not node.is_finished:
        click.echo(
            f"work chain {node.pk} has no result: {told_end(node)}; labels that it had made are taken from AiiDA's "
            "cache when the same structures are labelled again",
            err=True,
        )
        raise SystemExit(1)
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        document = write_results(node, output, companion(output, ".losses.json"))
    tell_account(document, node, output, profile, as_json)
    if document["lost"]:
        raise SystemExit(1)


def follow(pk: int, profile: str) -> None:
    """Say how many labels are done until the work chain ends; SetupError where nothing can go on."""
    from aiida import orm

    from ...provenance_db.queries import label_counts

    total = orm.load_node(pk).inputs.configurations.n_frames
    pause = Pause(profile, POLL_SECONDS, f"then `argonaut label -p {profile} --pk {pk} -o OUT.extxyz` goes on")
    with Progress("labelling", total) as progress:
        while True:
            node: Any = orm.load_node(pk)
            counts = label_counts(node)
            good = counts.ended - counts.lost
            progress.update(counts.ended, f"{good} ok, {counts.lost} lost, {counts.in_flight} in flight of {total}")
            if node.is_terminated:
                return
            pause()


def tell_account(document: dict[str, Any], node: Any, output: Path, profile: str, as_json: bool) -> None:
    """Print what became of the structures."""
    from ...provenance_db.queries import seconds
    from .tables import duration

    if as_json:
        told = {**document, "output": str(output) if "labels" in node.outputs else None, "seconds": seconds(node)}
        click.echo(json.dumps(told, indent=2))
        return
    for loss in document["lost"][:MOST_TOLD]:
        where = f"{loss['given'][0]} " if loss["given"] else ""
        click.echo(f"lost {where}{loss['formula']} ({loss['source']}): {loss['reason']}: {loss['message']}")
    if document["lost"][MOST_TOLD:]:
        click.echo(f"lost: {len(document['lost']) - MOST_TOLD} more")
    ok, rescued, lost = document["ok"], len(document["rescued"]), len(document["lost"])
    parts = f"{ok} ok + {rescued} rescued + {lost} lost"
    click.echo(f"{document['submitted']} submitted = {parts}, work chain {node.pk}, {duration(seconds(node))}")
    account = companion(output, ".losses.json")
    if "labels" not in node.outputs:
        click.echo(f"no label was made, so that {output} was not written; {account} has the reasons")
        return
    click.echo(f"{output}: {ok + rescued} labels, {protocol_line(document)}")
    click.echo(f"{account}: losses with reasons, protocol, units, reference energies")
    click.echo(f"as a dataset folder: verdi -p {profile} data argonaut.dataset export {node.outputs.labels.pk} -o DIR")


def tell_preview(document: dict[str, Any], as_json: bool) -> None:
    """Print what would be submitted, and what it would cost."""
    from .price_table import duration_range, hours, size

    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    twice = document["given"] - document["structures"]
    repeated = f", {twice} of them the same as an earlier one" if twice else ""
    atoms = f", isolated atoms of {document['reference_atoms']} elements" if document["reference_atoms"] else ""
    counted = f"{document['given']} structures given{repeated}{atoms}"
    click.echo(f"{counted}: {document['labels']} labels by {document['code']}")
    for loss in document["refused"][:MOST_TOLD]:
        click.echo(f"will be lost: {loss['given']} {loss['formula']}: {loss['reason']}: {loss['message']}")
    if document["refused"][MOST_TOLD:]:
        click.echo(f"will be lost: {len(document['refused']) - MOST_TOLD} more")
    click.echo(f"protocol: {protocol_line(document)}")
    made_by = document["made_by"]
    click.echo(f"elements {' '.join(made_by['elements'])} of family {made_by['family']}, pw.x {made_by['pw_version']}")
    price, lost = document["price"], document["expected_lost"]
    click.echo(f"core-hours {hours(price['core_hours'])}, wall time {duration_range(price['wall_hours'])}")
    click.echo(f"disk {size(price['repository_bytes'])} in the profile, {size(price['scratch_bytes'])} of scratch")
    click.echo(f"by {price['source']}")
    click.echo(f"lost labels beside those: {lost['expected']:g} expected: {lost['source']}")
    click.echo("Nothing was submitted. In brackets: low and high; nothing is counted as taken from AiiDA's cache.")


def protocol_line(document: dict[str, Any]) -> str:
    """Name and what was changed in it, cutoffs, k spacing, spin and hash."""
    made_by, protocol = document["made_by"], document["protocol"]
    wave, density = made_by["cutoffs_Ry"]
    changed = "".join(f" {key}={value}" for key, value in made_by["changes"].items())
    name = f"{made_by['protocol']}{' with' if changed else ''}{changed}"
    numbers = f"{wave:g}/{density:g} Ry, k spacing {protocol['kpoints_spacing']:g} 1/Å, spin {protocol['spin']}"
    return f"{name}; {numbers}; {document['protocol_hash']}"
