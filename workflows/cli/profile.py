"""Which profile a command works on, and how a person gets at it from a new shell."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..setup import DEFAULT_PROFILE, SetupError


def profile_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `-p/--profile`."""
    option = click.option(
        "-p", "--profile", help="AiiDA profile; where not given `argonaut`, if there is one, else AiiDA's default."
    )
    return option(command)


def open_profile(name: str | None) -> str:
    """Load a profile and return its name; SetupError if it is not there."""
    from aiida import load_profile
    from aiida.common.exceptions import AiidaException, ConfigurationError
    from aiida.manage import get_manager
    from aiida.manage.configuration import get_config
    from sqlalchemy.exc import SQLAlchemyError

    from ..patience import be_patient

    be_patient()
    try:
        known = get_config(create=False).profile_names
    except ConfigurationError as error:
        raise SetupError("there is no AiiDA configuration yet; run `argonaut setup`") from error
    if name is not None and name not in known:
        raise SetupError(
            f"no AiiDA profile {name!r}; there are: {', '.join(known) or 'none'}. `argonaut setup` makes one"
        )
    if name is None and DEFAULT_PROFILE in known:
        name = DEFAULT_PROFILE
    try:
        profile = str(load_profile(name).name)
        get_manager().get_profile_storage()
    except (AiidaException, SQLAlchemyError) as error:
        told = " ".join(str(error).split())[:300]
        raise SetupError(f"the profile cannot be opened: {told}; start its server, or run `argonaut setup`") from error
    return profile


def daemon_is_running() -> bool:
    """Whether the loaded profile has a daemon at work."""
    from aiida.engine.daemon.client import get_daemon_client

    return bool(get_daemon_client().is_daemon_running)


def submitted(builder: Any, profile: str) -> int:
    """Submit to the daemon of the loaded profile and return the pk; SetupError if its broker does not answer."""
    from aiida.engine import submit

    try:
        return int(submit(builder).pk)
    except ConnectionError as error:
        raise SetupError(
            f"the daemon's broker does not answer; start it again with `verdi -p {profile} daemon restart`"
        ) from error


def check_ready(profile: str) -> None:
    """Raise SetupError where no daemon would take a campaign, or labels made before would be made again."""
    from aiida.manage.configuration import get_config_option

    from ..setup import CACHED

    if not daemon_is_running():
        raise SetupError(
            f"the daemon of profile {profile} is not running; start it with `verdi -p {profile} daemon start`"
        )
    if set(CACHED) - set(get_config_option("caching.enabled_for") or []) and not get_config_option(
        "caching.default_enabled"
    ):
        raise SetupError(
            "caching is off for jobs of campaigns, so that work already done would be done again; run "
            f"`argonaut setup --profile {profile}`, then `verdi -p {profile} daemon restart`"
        )


def workers_are_cut_off() -> bool:
    """Whether tasks wait at the broker and no worker listens to it.

    When daemon *and* broker were killed with SIGKILL, workers started with the next daemon may read the address of the
    dead broker from the file it left behind (aiida-core 2.9.4); they then wait for ever.
    """
    from aiida.brokers.zeromq import ZeromqBroker
    from aiida.manage import get_manager

    broker = get_manager().get_broker()
    if not isinstance(broker, ZeromqBroker):
        return False
    status = broker.probe_service_status()
    return bool(status.get("pending_tasks")) and status.get("task_subscribers") == 0


def shell_lines(profile: str, commands: list[str]) -> list[str]:
    """Lines to paste into a new shell: where things are, then `verdi` and `argonaut` commands."""
    exports = [f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"]
    if "AIIDA_PATH" in os.environ:
        exports.append(f"export AIIDA_PATH={shlex.quote(str(Path(os.environ['AIIDA_PATH']).resolve()))}")
    return [*exports, *(command.replace("PROFILE", profile) for command in commands)]
