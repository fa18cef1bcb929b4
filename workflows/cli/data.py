"""verdi data argonaut.dataset and argonaut.committee: list, show, export and compare what campaigns have stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from aiida import orm
from aiida.cmdline.utils import decorators
from aiida.common.exceptions import NotExistent

from ..data import CommitteeData, DatasetData, FilesData


def _node(kind: type[FilesData], identifier: str) -> Any:
    """The node of this kind with this pk or uuid; a usage error says what else it is."""
    try:
        node = orm.load_node(int(identifier) if identifier.isdigit() else identifier)
    except (NotExistent, ValueError) as error:
        raise click.UsageError(f"{identifier}: no such node in this profile") from error
    if not isinstance(node, kind):
        raise click.UsageError(f"{identifier} is a {type(node).__name__}, expected a {kind.__name__}")
    return node


def _group(name: str, kind: type[FilesData], columns: tuple[str, ...], document: str) -> click.Group:
    """The commands for one kind of node: `columns` are its attributes to list, `document` its describing JSON file."""

    @click.group(name, help=f"Commands for {kind.__name__} nodes.")
    def group() -> None:
        pass

    @group.command("list")
    @decorators.with_dbenv()
    def list_nodes() -> None:
        """All nodes of this kind, oldest first."""
        query = orm.QueryBuilder().append(kind, tag="node").order_by({"node": "id"})
        click.echo("\t".join(("pk", "created", *columns)))
        for node in query.all(flat=True):
            values = (node.base.attributes.get(column) for column in columns)
            told = (" ".join(map(str, value)) if isinstance(value, list) else str(value) for value in values)
            click.echo("\t".join((str(node.pk), f"{node.ctime:%Y-%m-%d %H:%M}", *told)))

    @group.command("show")
    @click.argument("node")
    @decorators.with_dbenv()
    def show(node: str) -> None:
        """Where NODE comes from and what its files say of it."""
        found = _node(kind, node)
        creator = found.creator
        made_by = f"{creator.process_label}<{creator.pk}>" if creator is not None else "nothing on record"
        click.echo(f"{kind.__name__}<{found.pk}> {found.uuid}, made by {made_by}")
        click.echo(found.base.repository.get_object_content(document).rstrip())

    @group.command("export")
    @click.argument("node")
    @click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder.")
    @decorators.with_dbenv()
    def export(node: str, output: Path) -> None:
        """Write the files of NODE into a new or empty folder."""
        if output.exists() and any(output.iterdir()):
            raise click.UsageError(f"-o {output}: the folder is not empty")
        click.echo(str(_node(kind, node).export_to(output)))

    @group.command("diff")
    @click.argument("one")
    @click.argument("other")
    @decorators.with_dbenv()
    def diff(one: str, other: str) -> None:
        """How two nodes differ: their describing documents, key by key; exit code 1 if they do."""
        documents = [
            json.loads(_node(kind, node).base.repository.get_object_content(document)) for node in (one, other)
        ]
        keys = sorted(documents[0].keys() | documents[1].keys())
        differing = [key for key in keys if documents[0].get(key) != documents[1].get(key)]
        for key in differing:
            click.echo(f"{key}:\n  {one}: {documents[0].get(key)}\n  {other}: {documents[1].get(key)}")
        if differing:
            raise SystemExit(1)
        click.echo("no difference")

    return group


dataset = _group("argonaut.dataset", DatasetData, ("n_frames", "elements", "protocol_hash"), "dataset.json")
committee = _group(
    "argonaut.committee", CommitteeData, ("architecture", "preset", "n_members", "elements"), "config.json"
)
