"""argonaut pseudos: make the pseudopotentials of H-Ar, check them, show them."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from ..elements import STRINGENCIES, load_elements
from .atom import BOX, check_atom_energy
from .build import build_family
from .ld1 import PseudoError
from .recipes import family_label, load_recipes
from .upf import check_upf, md5


def _symbols(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    symbols = tuple(word.strip() for word in value.split(",") if word.strip())
    load_recipes(symbols)
    return symbols


def _program(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if shutil.which(value) is None:
        raise click.BadParameter(f"{value!r}: no such program; install Quantum ESPRESSO or give its path")
    return value


elements_option = click.option("--elements", callback=_symbols, help="Symbols such as H,C,O; all 18 if not given.")


@click.group()
def pseudos() -> None:
    """Make, check and show the PBE PAW pseudopotentials of H-Ar (no network needed)."""


@pseudos.command()
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of El.upf."
)
@elements_option
@click.option("--ld1", default="ld1.x", show_default=True, callback=_program, help="Name or path of ld1.x.")
@click.option("--workers", type=click.IntRange(min=1), help="Elements at a time; never more than there are cores.")
def build(output: Path, elements: tuple[str, ...] | None, ld1: str, workers: int | None) -> None:
    """Generate one tested dataset per element with ld1.x.

    Running it again completes a folder and keeps what is current. The last line is the label under which to install it.

    \b
    Example:
      argonaut pseudos build -o pseudos --elements H,C,O
      aiida-pseudo install family pseudos LABEL -P pseudo.upf -F pseudo.family.cutoffs
    """
    try:
        build_family(
            output, elements, ld1, workers=workers, report=lambda e, what: click.echo(f"{e:2s} {what}", err=True)
        )
    except PseudoError as error:
        click.echo(f"Error: {error}", err=True)
        raise click.exceptions.Exit(1) from error
    click.echo(family_label(elements))


@pseudos.command()
@elements_option
def label(elements: tuple[str, ...] | None) -> None:
    """Print the label of the family: it changes when a recipe or the set of elements changes."""
    click.echo(family_label(elements))


@pseudos.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@elements_option
@click.option("--pw", default="pw.x", show_default=True, callback=_program, help="Name or path of pw.x.")
@click.option(
    "--box", default=BOX, show_default=True, type=click.FloatRange(5.0, 100.0), help="Edge of the cubic box in Å."
)
def check(folder: Path, elements: tuple[str, ...] | None, pw: str, box: float) -> None:
    """Compare the energy of each isolated atom in pw.x with the one in the header of its dataset.

    \b
    Example:
      argonaut pseudos check pseudos --elements H,C
    """
    bad = 0
    click.echo("    header eV      pw.x eV        difference meV")
    for element, recipe in load_recipes(elements).items():
        try:
            found = check_atom_energy(recipe, folder / f"{element}.upf", pw, box)
        except (PseudoError, OSError) as error:
            click.echo(f"Error: {error}", err=True)
            bad += 1
            continue
        verdict = "" if found.passed else "   TOO LARGE"
        energies = f"{found.header_energy:13.5f}  {found.pw_energy:13.5f}  {1000 * found.difference:8.1f}"
        click.echo(f"{element:2s}  {energies}{verdict}")
        bad += not found.passed
    if bad:
        raise click.exceptions.Exit(1)


@pseudos.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), required=False)
@elements_option
def table(folder: Path | None, elements: tuple[str, ...] | None) -> None:
    """Show variant, valence, cutoffs and, for a built FOLDER, reference energy and md5 of each element.

    \b
    Example:
      argonaut pseudos table pseudos
    """
    click.echo(f"{family_label(elements)}; cutoffs in Ry, wave functions / density")
    entries = load_elements()
    for element, recipe in load_recipes(elements).items():
        cutoffs = "  ".join(
            f"{s} {entries[element].cutoffs[s][0]:g}/{entries[element].cutoffs[s][1]:g}" for s in STRINGENCIES
        )
        row = f"{element:2s}  {recipe.variant:4s}  {recipe.valence:2g} electrons  {cutoffs}"
        if folder is not None:
            path = folder / f"{element}.upf"
            try:
                row += f"  {check_upf(path.read_text(), recipe).total_energy:12.5f} Ry  {md5(path)}"
            except (PseudoError, OSError) as error:
                row += f"  ({error})"
        click.echo(row)
