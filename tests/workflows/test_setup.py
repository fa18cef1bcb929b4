"""Set-up makes what is missing, repairs what is broken, makes nothing twice, and names the commands where it cannot."""

import shutil
import sqlite3
import stat
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from aiida_argonaut.workflows import setup as machinery
from aiida_argonaut.workflows.setup import SetupError


@pytest.fixture
def said():
    """Lines that set-up said."""
    return []


@pytest.fixture
def executable(tmp_path):
    """Make an executable file that prints a text."""

    def made(name, text=""):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\necho '{text}'\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return made


@pytest.fixture
def nothing_installed(monkeypatch):
    """A PATH without Quantum ESPRESSO, as an ordinary user; returns the commands that were run."""
    commands = []

    def run(command, **keywords):
        commands.append(command)
        return subprocess.CompletedProcess(command, 100, "", "E: Unable to locate package")

    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_without_pw_the_commands_to_type_are_named(nothing_installed, said):
    with pytest.raises(SetupError) as caught:
        machinery.find_pw(None, said.append)
    assert "apt-get install quantum-espresso" in str(caught.value)
    assert "conda install -c conda-forge qe" in str(caught.value)
    assert nothing_installed == [], "nothing may be installed for an ordinary user"


def test_root_on_debian_installs_and_says_why_it_failed(nothing_installed, said, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(SetupError, match="Unable to locate package"):
        machinery.find_pw(None, said.append)
    assert nothing_installed == [["apt-get", "update", "-qq"]]
    assert any("quantum-espresso" in line for line in said)


def test_a_given_pw_that_does_not_exist(said):
    with pytest.raises(SetupError, match="no such executable"):
        machinery.find_pw("/nowhere/pw.x", said.append)


def test_ld1_beside_the_given_pw_comes_first(executable):
    pw, ld1 = executable("pw.x"), executable("ld1.x")
    assert machinery.find_ld1(str(pw)) == ld1


def test_the_version_is_the_one_that_the_executable_prints(executable):
    assert machinery.pw_version(executable("pw.x", "Program PWSCF v.7.3.1 starts on")) == "7.3.1"
    with pytest.raises(SetupError, match="banner"):
        machinery.pw_version(executable("other.x", "something else"))


def test_a_code_is_made_once_and_set_aside_when_it_points_elsewhere(profile, executable, said):
    from aiida import orm

    first, second = executable("pw.x"), executable("other.x")
    machinery.ensure_computer(said.append)
    machinery.ensure_computer(said.append)
    code = machinery.ensure_code("pw@localhost", first, "quantumespresso.pw", said.append)
    assert machinery.ensure_code("pw@localhost", first, "quantumespresso.pw", said.append).pk == code.pk
    first.unlink()
    repaired = machinery.ensure_code("pw@localhost", second, "quantumespresso.pw", said.append)
    assert repaired.pk != code.pk
    assert orm.load_code("pw@localhost").pk == repaired.pk
    assert str(repaired.filepath_executable) == str(second)
    assert orm.QueryBuilder().append(orm.Computer).count() == 1
    assert orm.QueryBuilder().append(orm.InstalledCode).count() == 2
    assert "was for another" in said[-2]


def test_an_upgrade_in_place_is_another_code_for_the_cache(profile, executable, said):
    machinery.ensure_computer(said.append)
    path = executable("pw.x")
    old, new = (
        machinery.ensure_code("pw@localhost", path, "quantumespresso.pw", said.append, prepend=f"# pw.x {version}")
        for version in ("6.7", "7.4")
    )
    assert old.pk != new.pk
    assert old.base.caching.compute_hash() != new.base.caching.compute_hash()


def test_a_code_without_an_executable_is_refused(profile, tmp_path, said):
    machinery.ensure_computer(said.append)
    with pytest.raises(SetupError, match="no such file"):
        machinery.ensure_code("pw@localhost", tmp_path / "pw.x", None, said.append)


@pytest.fixture(scope="module")
def pseudopotentials(tmp_path_factory):
    """The embedded family, built once by ld1.x."""
    if shutil.which("ld1.x") is None:
        pytest.skip("ld1.x is not on PATH; `make test` installs it")
    from aiida_argonaut.dft_inputs.pseudos.build import build_family

    folder = tmp_path_factory.mktemp("family")
    build_family(folder)
    return folder


@pytest.mark.dft
def test_half_a_family_is_made_again_and_a_whole_one_kept(profile, pseudopotentials, said, monkeypatch, tmp_path):
    from aiida import orm

    from aiida_argonaut.dft_inputs.pseudos import build
    from aiida_argonaut.dft_inputs.pseudos.recipes import family_label

    built = []

    def copied(folder, **keywords):
        built.append(folder)
        for path in pseudopotentials.glob("*.upf"):
            shutil.copy(path, folder)

    monkeypatch.setattr(build, "build_family", copied)
    family = machinery.ensure_family(tmp_path / "ld1.x", said.append)
    assert len(family.elements) == 18
    assert set(family.get_cutoff_stringencies()) == {"fast", "balanced", "stringent"}
    assert machinery.ensure_family(tmp_path / "ld1.x", said.append).pk == family.pk
    assert len(built) == 1
    family.remove_nodes(family.get_pseudo(element="He"))
    again = machinery.ensure_family(tmp_path / "ld1.x", said.append)
    assert len(built) == 2
    assert len(again.elements) == 18
    assert any("incomplete" in line for line in said)
    assert [group.label for group in orm.QueryBuilder().append(type(again)).all(flat=True)] == [family_label()]


def counts():
    """How many of everything that set-up makes there are."""
    from aiida import orm

    return {kind.__name__: orm.QueryBuilder().append(kind).count() for kind in (orm.Computer, orm.Code, orm.Group)}


@pytest.mark.slow
@pytest.mark.dft
def test_set_up_a_second_time_makes_nothing(deployment, record):
    before = counts()
    said = deployment.run("argonaut", "setup").stdout
    assert "made" not in said
    assert "building" not in said
    assert counts() == before


@pytest.mark.slow
@pytest.mark.dft
def test_readers_do_not_wait_for_writers(record):
    (database,) = Path(record.storage_config["filepath"]).glob("database.sqlite")
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_set_up_leaves_no_caching_twice(deployment, record):
    enabled = deployment.run("verdi", "config", "get", "caching.enabled_for").stdout
    assert enabled.count("quantumespresso.pw") == 1
    assert "argonaut.train" in enabled
