"""The one door: `argonaut`, whose commands are loaded when they are called, so that `--help` costs nothing."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import click

from . import __version__

STAGES: dict[str, dict[str, tuple[str, str]]] = {
    "Campaigns": {
        "setup": ("workflows.cli.setup:setup", "Make or repair profile, codes and pseudopotentials."),
        "check": ("workflows.cli.check:check", "Try each stage of a campaign once, before hours are spent."),
        "launch": ("workflows.cli.launch:launch", "Start a campaign from its file, or tell what it would cost."),
        "follow": ("workflows.cli.follow:follow", "Watch a campaign until it ends."),
        "status": ("workflows.cli.status:status", "Labels, losses, errors and times, per iteration."),
        "report": ("workflows.cli.report:report", "All of a campaign on one page for a browser."),
        "resume": ("workflows.cli.resume:resume", "Go on with a campaign that has ended, whatever ended it."),
        "repair": ("workflows.cli.repair:repair", "Mend what a kill or a crash has left damaged."),
        "plot": ("workflows.cli.plot:plot", "Parity, and deviation against error, on fresh labels."),
        "audit": ("workflows.cli.audit:audit", "Check that everything in a campaign has a provenance."),
        "demo": ("workflows.cli.demo:demo", "A real campaign from beginning to end, with a short report."),
    },
    "Labels without a campaign": {
        "label": ("workflows.cli.label:label", "DFT labels through AiiDA for any structures, losses accounted for."),
    },
    "Computing (no AiiDA needed)": {
        "generate": ("mlip.cli.generate:generate", "Randomised configurations from a recipe."),
        "coverage": ("mlip.cli.coverage:coverage", "What files of configurations hold, and what they lack."),
        "deduplicate": ("mlip.cli.deduplicate:deduplicate", "Leave out what occurs twice, and tell what and why."),
        "label-ase": ("mlip.cli.label_ase:label_ase", "Labels from an ASE calculator."),
        "label-table": ("mlip.cli.label_table:label_table", "Labels looked up in a file, by content."),
        "train": ("mlip.cli.train:train", "Train one potential or a committee."),
        "merge": ("mlip.cli.merge:merge", "Join models into one committee."),
        "evaluate": ("mlip.cli.evaluate:evaluate", "Errors of a model on labelled frames."),
        "learning-curve": ("mlip.cli.learning_curve:learning_curve", "How a training went, as a picture."),
        "contract": ("mlip.cli.contract:contract", "Check architectures, your own too, against the contract."),
        "explore": ("mlip.cli.explore:explore", "Molecular dynamics with a committee."),
        "select": ("mlip.cli.select:select", "Choose what to label next."),
    },
    "Pseudopotentials": {
        "pseudos": ("dft_inputs.pseudos.command:pseudos", "Build, check and show the embedded H-Ar family."),
    },
}


LONGEST = 600
"""Characters of an error message."""


class LazyGroup(click.Group):
    """Imports a command's module only when that command is called; bad input ends in one line and exit code 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, by stage."""
        return [name for commands in STAGES.values() for name in commands]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import and return one command."""
        for commands in STAGES.values():
            if name in commands:
                module, _, attribute = commands[name][0].partition(":")
                if module.startswith("workflows."):
                    _check_aiida_path()
                command: click.Command = getattr(importlib.import_module(f"{__package__}.{module}"), attribute)
                return command
        return None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """As click does, but an unknown name gets the nearest known one."""
        name = args[0] if args else ""
        if args and self.get_command(ctx, name) is None:
            import difflib

            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands by stage, from the texts above."""
        for stage, commands in STAGES.items():
            with formatter.section(stage):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()])

    def main(self, *arguments: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run the command; bad input, a ValueError or click's own complaint, ends in one line and exit code 2."""
        if not standalone_mode:
            return self._run(*arguments, **extra)
        try:
            code = self._run(*arguments, **extra)
        except click.ClickException as error:
            code = _refused(_told(error))
        except ValueError as error:
            if os.environ.get("ARGONAUT_TRACEBACK"):
                raise
            code = _refused(f"argonaut: {error}")
        except (click.Abort, KeyboardInterrupt):
            click.echo("argonaut: interrupted", err=True)
            code = 130
        sys.exit(code if isinstance(code, int) else 0)

    def _run(self, *arguments: Any, **extra: Any) -> Any:
        """What click does, without its own way of telling errors."""
        run: Any = super().main
        return run(*arguments, standalone_mode=False, **extra)


def _refused(message: str) -> int:
    """Say it in one line; a long message of a library is cut."""
    line = " ".join(message.split())
    click.echo(line if len(line) <= LONGEST else f"{line[:LONGEST]} ...", err=True)
    return 2


def _told(error: click.ClickException) -> str:
    """A complaint of click's about a command line, and where the command is explained."""
    context = getattr(error, "ctx", None)
    command = "argonaut" if context is None else context.command_path
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the whole help
        return f"{command}: a command is missing; `{command} --help` lists them"
    return f"{command}: {error.format_message().rstrip('.')}; `{command} --help` explains"


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="argonaut")
def argonaut() -> None:
    """Active learning of interatomic potentials for H to Ar.

    Exit codes: 0 done, 1 ran but did not reach what was asked, 2 bad input, 130 interrupted.
    """
    _put_own_folder_on_path()


def _check_aiida_path() -> None:
    """ValueError where AiiDA, which makes its folder when it is imported, could not; it does so without a word."""
    from .mlip.cli.given import not_writable

    warnings.filterwarnings("ignore", message="Creating AiiDA configuration folder")
    given = os.environ.get("AIIDA_PATH") or "~"
    folders = [Path(each).expanduser() for each in given.split(os.pathsep) if each]
    problems = [not_writable(folder / ".aiida") for folder in folders]
    if problems and None not in problems:
        raise ValueError(
            f"AIIDA_PATH {folders[0]}: AiiDA cannot keep its configuration there ({problems[0]}); name a folder of "
            "yours, as in `export AIIDA_PATH=$PWD`"
        )


def _put_own_folder_on_path() -> None:
    """AiiDA's daemon looks for `verdi` on PATH; it stands beside this Python even where nobody activated anything."""
    folder = str(Path(sys.executable).parent)
    if folder not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([folder, os.environ.get("PATH", "")])
