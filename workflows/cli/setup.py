"""argonaut setup: everything a campaign needs on this computer."""

from __future__ import annotations

import click

from .. import setup as machinery
from ..profiles import POSTGRES_PASSWORD, RABBITMQ_PASSWORD, postgres_server, rabbitmq_server


@click.command()
@click.option(
    "--profile", default=machinery.DEFAULT_PROFILE, show_default=True, help="AiiDA profile to make or repair."
)
@click.option("--pw", help="Path of pw.x, where it is not on PATH.")
@click.option(
    "--postgres", is_flag=False, flag_value="postgresql://", metavar="[postgresql://USER@HOST:PORT/DATABASE]",
    help="Keep a new profile's record in this PostgreSQL database, which has to be empty; without DATABASE one is "
    f"made, with a role of its own, as USER (default postgres@localhost:5432). Password: {POSTGRES_PASSWORD}.",
)  # fmt: skip
@click.option(
    "--rabbitmq", is_flag=False, flag_value="amqp://", metavar="[amqp://USER@HOST:PORT/VIRTUAL_HOST]",
    help="Let RabbitMQ carry a new profile's tasks (default guest@127.0.0.1:5672; amqps:// with TLS). Password: "
    f"{RABBITMQ_PASSWORD}.",
)  # fmt: skip
def setup(profile: str, pw: str | None, postgres: str | None, rabbitmq: str | None) -> None:
    """Make or repair what campaigns need: profile, computer, codes, pseudopotentials.

    A new profile uses SQLite and AiiDA's ZeroMQ broker, so that no service has to run; --postgres and --rabbitmq
    choose otherwise, each for itself (docs/services.md). Passwords come from the environment variables named below or
    are asked for. What exists is kept; run it again at any time. Where pw.x is missing it is installed on a
    Debian-like machine as root; elsewhere the commands are named.

    \b
    Examples: AIIDA_PATH=$PWD argonaut setup
              argonaut setup --postgres postgresql://aiida@localhost/aiida --rabbitmq
    """
    database = None if postgres is None else postgres_server(postgres)
    broker = None if rabbitmq is None else rabbitmq_server(rabbitmq)
    machinery.setup(profile, pw, lambda line: click.echo(f"  {line}"), database, broker)
    click.echo(f"profile {profile} is ready")
