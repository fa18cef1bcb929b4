"""The one door: `argonaut`, whose commands are loaded when they are called, so that `--help` costs nothing."""

from __future__ import annotations

import importlib
import os
import sys
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
    "Computing (no AiiDA needed)": {
        "generate": ("mlip.cli.generate:generate", "Randomised configurations from a recipe."),
        "label-ase": ("mlip.cli.label_ase:label_ase", "Labels from an ASE calculator."),
        "label-table": ("mlip.cli.label_table:label_table", "Labels looked up in a file, by content."),
        "train": ("mlip.cli.train:train", "Train one potential or a committee."),
        "merge": ("mlip.cli.merge:merge", "Join models into one committee."),
        "evaluate": ("mlip.cli.evaluate:evaluate", "Errors of a model on labelled frames."),
        "explore": ("mlip.cli.explore:explore", "Molecular dynamics with a committee."),
        "select": ("mlip.cli.select:select", "Choose what to label next."),
    },
    "Pseudopotentials": {
        "pseudos": ("dft_inputs.pseudos.command:pseudos", "Build, check and show the embedded H-Ar family."),
    },
}


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

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a ValueError is bad input: one line, exit code 2."""
        try:
            return super().invoke(ctx)
        except ValueError as error:
            if os.environ.get("ARGONAUT_TRACEBACK"):
                raise
            click.echo(f"argonaut: {' '.join(str(error).split())}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo("argonaut: interrupted", err=True)
            ctx.exit(130)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="argonaut")
def argonaut() -> None:
    """Active learning of interatomic potentials for H to Ar.

    Exit codes: 0 done, 1 ran but did not reach what was asked, 2 bad input, 130 interrupted.
    """
    _put_own_folder_on_path()


def _put_own_folder_on_path() -> None:
    """AiiDA's daemon looks for `verdi` on PATH; it stands beside this Python even where nobody activated anything."""
    folder = str(Path(sys.executable).parent)
    if folder not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([folder, os.environ.get("PATH", "")])
