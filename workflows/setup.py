"""Set-up: profile, computer, codes and pseudopotentials: made where missing, repaired where broken, never twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..dft_inputs.pw_output import PwOutputError
from ..dft_inputs.pw_output import pw_version as printed_version
from .postgres import PostgresServer, SetupError
from .profiles import RabbitmqServer, ensure_profile, ensure_user

COMPUTER = "localhost"
PW_CODE = "pw@localhost"
COMPUTE_CODE = "argonaut@localhost"
PW_VERSION = "pw_version"
"""Extra of a pw.x code: the version that the executable gave for itself."""
DEFAULT_PROFILE = "argonaut"
CACHED = (
    "aiida.calculations:quantumespresso.pw",
    "aiida.calculations:argonaut.generate",
    "aiida.calculations:argonaut.train",
    "aiida.calculations:argonaut.explore",
    "aiida.calculations:argonaut.select",
    "aiida.calculations:argonaut.evaluate",
    "aiida.calculations:argonaut.label_ase",
    "aiida.calculations:argonaut.label_table",
)
"""Calculations that depend on nothing but their inputs, seeds and numerics' versions included: safe to cache."""


def setup(
    profile: str,
    pw: str | None,
    say: Callable[[str], None],
    database: PostgresServer | None = None,
    broker: RabbitmqServer | None = None,
) -> None:
    """Make or repair all that a campaign on this computer needs.

    :param profile: name of the AiiDA profile, made if it does not exist.
    :param pw: path of pw.x; None looks on PATH and, as root on a Debian-like machine, installs it.
    :param say: called with a line per step.
    :param database: where a new profile keeps its record; None is SQLite.
    :param broker: what carries the tasks of a new profile; None is AiiDA's ZeroMQ broker.
    :raises SetupError: what is missing and how to get it, or a profile that exists with other servers.
    """
    executables = {"pw.x": find_pw(pw, say), "ld1.x": find_ld1(pw)}
    version = pw_version(executables["pw.x"])
    ensure_profile(profile, say, database, broker)
    enable_caching(profile)
    from aiida import load_profile

    load_profile(profile, allow_switch=True)
    ensure_user()
    ensure_computer(say)
    pw_code = ensure_code(PW_CODE, executables["pw.x"], "quantumespresso.pw", say, prepend=f"# pw.x {version}")
    pw_code.base.extras.set(PW_VERSION, version)
    ensure_code(COMPUTE_CODE, Path(sys.executable).with_name("argonaut"), None, say)
    ensure_family(executables["ld1.x"], say)


def find_pw(given: str | None, say: Callable[[str], None]) -> Path:
    """Absolute path of pw.x, installed first if that is possible here; SetupError names the commands otherwise."""
    if given is not None:
        path = shutil.which(given)
        if path is None:
            raise SetupError(f"--pw {given}: no such executable")
        return Path(path).resolve()
    if shutil.which("pw.x") is None:
        install_quantum_espresso(say)
    return Path(str(shutil.which("pw.x")))


def find_ld1(pw: str | None) -> Path:
    """Absolute path of ld1.x: beside the given pw.x, else on PATH."""
    beside = Path(shutil.which(pw) or pw).with_name("ld1.x") if pw else None
    path = str(beside) if beside is not None and beside.is_file() else shutil.which("ld1.x")
    if path is None:
        raise SetupError("ld1.x, which builds the pseudopotentials, is not on PATH; it comes with Quantum ESPRESSO: "
                         + HOW_TO_INSTALL)  # fmt: skip
    return Path(path)


HOW_TO_INSTALL = (
    "`sudo apt-get install quantum-espresso` (Debian, Ubuntu) or `conda install -c conda-forge qe`, "
    "then run set-up again"
)


def install_quantum_espresso(say: Callable[[str], None]) -> None:
    """Install the Debian package as root; SetupError with the commands to type anywhere else."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise SetupError(f"pw.x is not on PATH; install Quantum ESPRESSO: {HOW_TO_INSTALL}")
    say("installing the Debian package quantum-espresso")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "quantum-espresso"]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SetupError(f"`{' '.join(command)}` failed: {' '.join(done.stderr.split())[-400:]}; {HOW_TO_INSTALL}")
    if shutil.which("pw.x") is None:
        raise SetupError(f"the package quantum-espresso brought no pw.x; {HOW_TO_INSTALL}")


def pw_version(executable: Path) -> str:
    """The version that pw.x prints first of all, such as '6.7'; SetupError if it does not."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.in"
        empty.write_text("")
        with empty.open() as stdin:
            try:
                done = subprocess.run(
                    [str(executable)], stdin=stdin, cwd=folder, capture_output=True, text=True, timeout=60, check=False
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise SetupError(f"{executable} does not run: {error}") from error
    try:
        return printed_version(done.stdout)
    except PwOutputError as error:
        raise SetupError(f"{executable}: {error}") from error


def enable_caching(profile: str) -> None:
    """Let AiiDA reuse results of calculations that are safe to cache, in this profile only."""
    from aiida.manage.configuration import get_config

    config = get_config()
    enabled = list(config.get_option("caching.enabled_for", scope=profile) or [])
    missing = [name for name in CACHED if name not in enabled]
    if missing:
        config.set_option("caching.enabled_for", [*enabled, *missing], scope=profile)
        config.store()


def ensure_computer(say: Callable[[str], None]) -> Any:
    """The computer `localhost`, configured for the current user."""
    from aiida import orm
    from aiida.common.exceptions import NotExistent

    try:
        computer = orm.load_computer(COMPUTER)
    except NotExistent:
        root = Path(os.environ.get("AIIDA_PATH", Path.home())) / ".aiida" / "scratch"
        computer = orm.Computer(
            label=COMPUTER, hostname="localhost", description="this computer", transport_type="core.local",
            scheduler_type="core.direct", workdir=str(root),
        ).store()  # fmt: skip
        say(f"made computer {COMPUTER}")
    if not computer.is_configured:
        # the daemon has the user's environment: no login shell, which would read the profile for every command
        computer.configure(safe_interval=0, use_login_shell=False)
        computer.set_minimum_job_poll_interval(1)
        computer.set_default_mpiprocs_per_machine(1)
        say(f"configured computer {COMPUTER}")
    return computer


def ensure_code(label: str, executable: Path, plugin: str | None, say: Callable[[str], None], prepend: str = "") -> Any:
    """An installed code under this label for this executable; one for another, or another version, is set aside.

    :param prepend: put before the command in every job script. It is part of what AiiDA's cache looks at, and the path
        of an executable that was upgraded in place is not enough: the version has to be in it.
    """
    from aiida import orm
    from aiida.common.exceptions import NotExistent

    if not executable.is_file():
        raise SetupError(f"{executable}: no such file; it should be the executable of code {label}")
    name, computer = label.split("@")
    try:
        code = orm.load_code(label)
        if str(code.filepath_executable) == str(executable) and code.prepend_text == prepend:
            return code
        code.label = f"{name}-until-{code.pk}"
        code.is_hidden = True
        say(f"code {label} was for another {code.filepath_executable}; it is now {code.label}")
    except NotExistent:
        pass
    code = orm.InstalledCode(
        label=name, computer=orm.load_computer(computer), filepath_executable=str(executable),
        default_calc_job_plugin=plugin, prepend_text=prepend, with_mpi=False,
    ).store()  # fmt: skip
    say(f"made code {label} for {executable}")
    return code


def ensure_family(ld1: Path, say: Callable[[str], None]) -> Any:
    """The embedded H-Ar family, built by ld1.x and installed with its cutoffs under a label made from its recipes."""
    from aiida import orm
    from aiida.common.exceptions import NotExistent
    from aiida_pseudo.data.pseudo import UpfData
    from aiida_pseudo.groups.family import CutoffsPseudoPotentialFamily

    from ..dft_inputs.elements import STRINGENCIES, load_elements
    from ..dft_inputs.pseudos.build import build_family
    from ..dft_inputs.pseudos.ld1 import PseudoError
    from ..dft_inputs.pseudos.recipes import family_label

    label, elements = family_label(), load_elements()
    try:
        family = orm.load_group(label)
        if set(family.elements) != set(elements):
            say(f"pseudopotential family {label} is incomplete, as an interrupted set-up leaves it; making it again")
            orm.Group.collection.delete(family.pk)
            raise NotExistent(label)
    except NotExistent:
        say(f"building pseudopotentials of H-Ar with {ld1}")
        with tempfile.TemporaryDirectory() as folder:
            try:
                build_family(Path(folder), executable=str(ld1))
            except PseudoError as error:
                raise SetupError(f"the embedded pseudopotentials cannot be built: {error}") from error
            family = CutoffsPseudoPotentialFamily.create_from_folder(Path(folder), label, pseudo_type=UpfData)
        say(f"installed pseudopotential family {label}")
    for stringency in STRINGENCIES:
        cutoffs = {
            symbol: dict(zip(("cutoff_wfc", "cutoff_rho"), elements[symbol].cutoffs[stringency], strict=True))
            for symbol in family.elements
        }
        family.set_cutoffs(cutoffs, stringency, unit="Ry")
    family.set_default_stringency("balanced")
    return family
