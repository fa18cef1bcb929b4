"""What is shipped: sdist and wheel hold every file of the four folders, once, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("mlip", "dft_inputs", "workflows", "provenance_db")
SHIPPED = {".py", ".yaml", ".json", ".j2", ".typed"}
COPIED = ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "MANIFEST.in", "CHANGELOG.md")


def expected() -> set[str]:
    """Paths below the import name of all files that belong into the package."""
    files = {f"{folder}/{p.relative_to(ROOT / folder)}" for folder in FOLDERS for p in (ROOT / folder).rglob("*")}
    files |= {path.name for path in (ROOT / "src" / "aiida_argonaut").iterdir() if path.is_file()}
    return {f"aiida_argonaut/{name}" for name in files if Path(name).suffix in SHIPPED}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the sdist and the wheel that was built from it, made from a copy of the checkout."""
    checkout, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("dist")
    for name in COPIED:
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, checkout)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in (*FOLDERS, "src", "tests", "docs", "examples", "benchmarks"):
        shutil.copytree(ROOT / folder, checkout / folder, symlinks=True, ignore=ignored)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(checkout)]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return out


def test_the_wheel_holds_every_file_once_and_no_tests(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    package = [name for name in names if ".dist-info/" not in name]
    assert len(package) == len(set(package))
    assert set(package) == expected()


def test_the_sdist_holds_real_folders_under_src_only(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert not [member.name for member in members if member.issym() or member.islnk()]
    names = {member.name.partition("/")[2] for member in members if member.isfile()}
    assert {name.removeprefix("src/") for name in names if name.startswith("src/aiida_argonaut/")} == expected()
    assert not [name for name in names if name.startswith(tuple(f"{folder}/" for folder in FOLDERS))]
    assert {"LICENSE", "NOTICE", "README.md", "pyproject.toml"} <= names


def test_the_wheel_carries_licence_and_entry_points(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    names = {name.partition(".dist-info/")[2]: name for name in archive.namelist()}
    assert {"licenses/LICENSE", "licenses/NOTICE", "entry_points.txt"} <= names.keys()
    assert "argonaut.campaign" in archive.read(names["entry_points.txt"]).decode()
