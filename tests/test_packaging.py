"""What a user installs: the wheel, the pins, the environment that make sets up."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import slimcls

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = {
    canonicalize_name(line.split("==")[0]): line.split("==")[1].strip()
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
}
REQUIREMENTS = sorted(
    {*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())}
)


def package_files() -> set[str]:
    files = {path for path in (ROOT / "slimcls").rglob("*") if path.is_file()}
    return {path.relative_to(ROOT).as_posix() for path in files if path.suffix != ".pyc"}


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", slimcls.__version__)
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## [{slimcls.__version__}]" in changes


@pytest.mark.parametrize("requirement", REQUIREMENTS)
def test_every_requirement_is_pinned_to_a_version_it_allows(requirement):
    wanted = Requirement(requirement)
    assert wanted.specifier.contains(PINS[canonicalize_name(wanted.name)])


def test_pins_name_versions_and_no_build():
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", version) for version in PINS.values())
    assert PINS["torch"] == "2.13.0"


def test_extras():
    assert set(PROJECT["optional-dependencies"]) == {"dev", "grid", "notebooks", "quant"}


def test_the_wheel_holds_every_file_of_the_package(tmp_path):
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"slimcls-{slimcls.__version__}-")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name for name in names if name.startswith("slimcls/")} == package_files()
    assert {Path(name).suffix for name in package_files()} >= {".py", ".yaml", ".txt"}
    (info,) = {name.split("/")[0] for name in names if not name.startswith("slimcls/")}
    assert {f"{info}/entry_points.txt", f"{info}/licenses/LICENSE"} <= names


def make_with(python: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return subprocess.run(
        ["make", "demo", f"PYTHON={python}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ('case "$1" in -V) echo Python 3.9.2;; *) exit 1;; esac', "Python 3.9.2 is too old"),
        ('case "$2" in *ensurepip*) exit 1;; esac', "install python3-venv"),
        (None, "install Python 3.11 or newer"),
    ],
)
def test_make_says_in_one_line_what_the_machine_lacks(tmp_path, script, says):
    python = tmp_path / "somepython"
    if script:
        python.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        python.chmod(0o755)
    done = make_with(python, tmp_path)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert done.returncode == 2
    assert len(lines) == 1
    assert lines[0].startswith("slimcls: error: ")
    assert says in lines[0]
    assert not (tmp_path / ".venv").exists()


def test_ci_runs_what_people_run():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "make check" in script.read_text(encoding="utf-8")
