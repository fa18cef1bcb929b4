"""What every labelling command leaves: labels.extxyz, losses.json, a line per loss, and exit code 1 if there is one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..frames import Configuration, LabelledFrame
    from ..labelling import Loss

FORMAT = "argonaut-losses-1"


def write_labels(
    output: Path,
    configurations: Sequence[Configuration],
    results: Iterable[LabelledFrame | Loss],
    protocol: Mapping[str, Any],
    protocol_hash: str,
) -> None:
    """Take `results` one by one, with progress, then write them into `output`; raises SystemExit(1) after a loss.

    :param results: a label or a loss for each of `configurations`, in any order.
    """
    from ..frames import write_frames
    from ..labelling import Loss, account
    from .progress import Progress

    frames: list[LabelledFrame] = []
    losses: list[Loss] = []
    with Progress("labelling", len(configurations)) as progress:
        for result in results:
            if isinstance(result, Loss):
                losses.append(result)
            else:
                frames.append(result)
            progress.update(len(frames) + len(losses))
    output.mkdir(parents=True, exist_ok=True)
    if frames:
        write_frames(output / "labels.extxyz", frames)
    ok = [frame.configuration.configuration_id for frame in frames]
    document = {
        "format": FORMAT,
        "protocol": protocol,
        "protocol_hash": protocol_hash,
        **account(configurations, ok, [], map(dataclasses.asdict, losses)),
    }
    (output / "losses.json").write_text(json.dumps(document, indent=2) + "\n")
    for loss in losses:
        click.echo(f"lost {loss.configuration_id} {loss.formula}: {loss.reason}: {loss.message}", err=True)
    click.echo(f"{len(frames)} of {len(configurations)} labelled: {output}")
    if losses:
        raise SystemExit(1)
