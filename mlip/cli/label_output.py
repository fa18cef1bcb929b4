"""What every labelling command leaves: labels.extxyz, losses.json, a line per loss, and exit code 1 if there is one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..frames import LabelledFrame
    from ..labelling import Loss

FORMAT = "argonaut-losses-1"


def write_labels(
    output: Path,
    results: Iterable[LabelledFrame | Loss],
    submitted: int,
    protocol: Mapping[str, Any],
    protocol_hash: str,
) -> None:
    """Take `results` one by one, with progress, then write them into `output`; raises SystemExit(1) after a loss."""
    from ..frames import write_frames
    from ..labelling import Loss
    from .progress import Progress

    frames: list[LabelledFrame] = []
    losses: list[Loss] = []
    with Progress("labelling", submitted) as progress:
        for result in results:
            if isinstance(result, Loss):
                losses.append(result)
            else:
                frames.append(result)
            progress.update(len(frames) + len(losses))
    output.mkdir(parents=True, exist_ok=True)
    if frames:
        write_frames(output / "labels.extxyz", frames)
    document = {
        "format": FORMAT,
        "submitted": submitted,
        "ok": len(frames),
        "protocol": protocol,
        "protocol_hash": protocol_hash,
        "lost": [dataclasses.asdict(loss) for loss in losses],
    }
    (output / "losses.json").write_text(json.dumps(document, indent=2) + "\n")
    for loss in losses:
        click.echo(f"lost {loss.configuration_id} {loss.formula}: {loss.reason}: {loss.message}", err=True)
    click.echo(f"{len(frames)} of {submitted} labelled: {output}")
    if losses:
        raise SystemExit(1)
