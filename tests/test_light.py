"""Predicting needs few packages: none but them are seen by the processes here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from conftest import ROOT, made_up_rows, write_csv
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import slimcls
from slimcls.__main__ import VERBS
from slimcls.config import RunConfig
from slimcls.export import export
from slimcls.exporting.settings import ExportConfig
from slimcls.train import train

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
EXTRA = [Requirement(line).name for line in EXTRAS["train"] if line != "slimcls[torch]"]
TEXTS = [text for text, _ in made_up_rows(7, 11)]

#: Which packages of the extra a process has imported once predicting is done.
PREDICTS = """
import importlib.metadata, json, sys
import slimcls
from slimcls.predict import main
run, *files = sys.argv[1:]
print(json.dumps([p.label for p in slimcls.load(run).predict(open(files[0]).read().splitlines())]))
for word in ("rain and wind", *files):
    main([run, word])
names = importlib.metadata.packages_distributions()
seen = {name for module in sys.modules for name in names.get(module.partition(".")[0], ())}
print(json.dumps(sorted(seen)))
"""


@pytest.fixture(scope="module")
def run(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = RunConfig(
        dataset=str(toy), model="tiny-gpt2", mode="p-cls", keep=1, shots=16, epochs=1, lr=3e-3,
        out=str(tmp_path_factory.mktemp("runs")), accelerator="cpu",
    )  # fmt: skip
    return train(config).folder


def needed(lines: list[str]) -> Iterator[metadata.Distribution]:
    """The packages of these requirements and what they need in turn, each once."""
    todo, seen = [Requirement(line) for line in lines], set()
    while todo:
        wanted = todo.pop()
        if canonicalize_name(wanted.name) in seen:
            continue
        seen.add(canonicalize_name(wanted.name))
        try:
            found = metadata.distribution(wanted.name)
        except metadata.PackageNotFoundError:  # of another system, or of torch's CUDA build
            continue
        yield found
        for line in found.requires or ():
            inner = Requirement(line)
            if inner.marker is None or inner.marker.evaluate({"extra": ""}):
                todo.append(inner)


def installed(folder: Path, requirements: list[str]) -> Path:
    """A folder for sys.path that holds slimcls and these packages with what they need, as pip would
    fill it."""
    for package in needed(requirements):
        for name in {path.parts[0] for path in package.files or () if path.parts[0] != ".."}:
            target = Path(str(package.locate_file(name)))
            if target.exists() and name != "__pycache__" and not (folder / name).exists():
                (folder / name).symlink_to(target)
    (folder / "slimcls").symlink_to(ROOT / "slimcls")
    about = folder / f"slimcls-{slimcls.__version__}.dist-info"
    about.mkdir()
    lines = [f"Requires-Dist: {line}" for line in PROJECT["dependencies"]]
    for extra in ("torch", "train", "export", "serve"):
        for line in EXTRAS[extra]:
            joined = f"{line} and" if ";" in line else f"{line};"
            lines.append(f'Requires-Dist: {joined} extra == "{extra}"')
    head = ["Metadata-Version: 2.4", "Name: slimcls", f"Version: {slimcls.__version__}"]
    (about / "METADATA").write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``pip install slimcls`` brings."""
    return installed(tmp_path_factory.mktemp("light"), PROJECT["dependencies"])


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``pip install 'slimcls[torch]'`` brings."""
    wanted = [*PROJECT["dependencies"], *EXTRAS["torch"]]
    return installed(tmp_path_factory.mktemp("core"), wanted)


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "small"
    export(ExportConfig(run=str(run), out=str(out)))
    return out


def process(core: Path, where: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Python with these packages alone, in an empty folder."""
    start = "import runpy, sys; sys.path.append(sys.argv.pop(1)); del sys.argv[0]; "
    how = (
        "exec(sys.argv[0]) if sys.argv[0].startswith('\\n') else "
        "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
    )
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", start + how, str(core), *map(str, words)],
        capture_output=True, text=True, cwd=where, timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """The same texts as .txt, .csv and .jsonl."""
    lines = [json.dumps({"text": text}) for text in TEXTS]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "a.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    rows = write_csv(tmp_path / "a.csv", [(text, "") for text in TEXTS])
    rows.write_text(rows.read_text(encoding="utf-8").replace(",label", ",note"), encoding="utf-8")
    return [tmp_path / "a.txt", rows, tmp_path / "a.jsonl"]


def predicted(done: subprocess.CompletedProcess[str]) -> tuple[list[str], set[str]]:
    """Labels, and the packages that were imported."""
    assert done.returncode == 0, done.stderr
    labels, *_, seen = done.stdout.splitlines()
    return json.loads(labels), set(json.loads(seen))


def test_an_exported_classifier_needs_no_torch(
    exported: Path, light: Path, files: list[Path]
) -> None:
    labels, seen = predicted(process(light, files[0].parent, PREDICTS, exported, *files))
    assert labels == [p.label for p in slimcls.load(exported).predict(TEXTS)]
    assert {"numpy", "onnxruntime", "tokenizers"} <= seen
    assert seen <= {"numpy", "onnxruntime", "tokenizers", "slimcls", "PyYAML", "pyyaml", "tqdm",
                    "flatbuffers", "protobuf"}  # fmt: skip


def test_a_run_without_torch_is_one_line(run: Path, light: Path, tmp_path: Path) -> None:
    done = process(light, tmp_path, "slimcls", "predict", run, "rain and wind")
    line = one_line(done, extra="torch")
    assert "a run that was not exported needs more packages (safetensors, torch, transf" in line


def test_predicting_with_a_run_needs_torch_and_no_more(
    run: Path, core: Path, files: list[Path]
) -> None:
    labels, seen = predicted(process(core, files[0].parent, PREDICTS, run, *files))
    assert labels == [p.label for p in slimcls.load(run).predict(TEXTS)]
    assert {"slimcls", "torch", "transformers"} <= seen | {"slimcls"}
    assert not {"lightning", "datasets", "duckdb", "pandas", "scipy", "scikit-learn"} & seen


def test_where_more_is_installed_predicting_leaves_it_alone(run: Path, files: list[Path]) -> None:
    """But for what transformers and torch take wherever it is there."""
    done = subprocess.run(
        [sys.executable, "-c", PREDICTS, str(run), *map(str, files)],
        capture_output=True, text=True, cwd=files[0].parent, timeout=300,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    _, seen = predicted(done)
    taken = {"huggingface-hub", "huggingface_hub", "Jinja2", "jinja2", "filelock", "psutil"}
    assert seen & set(EXTRA) <= taken | {"scipy"}
    assert "duckdb" in EXTRA
    assert "lightning" in EXTRA


WORDS = {
    "fit": ["toy.csv", "--model", "tiny-gpt2"],
    "train": ["toy.csv", "--model", "tiny-gpt2"],
    "score": ["tiny-gpt2", "--text", "toy.csv"],
    "grid": ["grid.yaml"],
    "baseline": ["toy.csv", "--model", "tiny-gpt2"],
    "report": ["runs"],
    "prune": ["tiny-gpt2", "pruned", "--keep", "2"],
    "export": ["runs/x", "small"],
    "push": ["runs/x", "me/x"],
    "cascade": ["runs/x"],
    "serve": ["runs/x"],
}
#: What brings what a verb lacks, where it is not all that training takes.
OF_ITS_OWN = {"export": "datasets, duckdb, ", "serve": "fastapi, fastapi-offline, "}


def test_every_verb_is_tried() -> None:
    assert WORDS.keys() | {"predict"} == VERBS.keys()


def one_line(done: subprocess.CompletedProcess[str], extra: str = "train") -> str:
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("slimcls: error: ")
    assert line.endswith(f": pip install 'slimcls[{extra}]'")
    return line


@pytest.mark.parametrize("verb", sorted(WORDS))
@pytest.mark.parametrize("module", ["slimcls", "slimcls.{verb}"])
def test_what_a_verb_lacks_is_one_line(core: Path, tmp_path: Path, verb: str, module: str) -> None:
    name = module.format(verb=verb)
    words = [name, *([verb] if name == "slimcls" else []), *WORDS[verb]]
    line = one_line(process(core, tmp_path, *words), verb if verb in OF_ITS_OWN else "train")
    lacking = OF_ITS_OWN.get(verb, "datasets, duckdb, ")
    assert f"slimcls {verb} needs more packages ({lacking}" in line
    assert list(tmp_path.iterdir()) == []


def test_help_needs_nothing(core: Path, tmp_path: Path) -> None:
    done = process(core, tmp_path, "slimcls", "train", "--help")
    assert done.returncode == 0
    assert "--keep" in done.stdout


def test_a_checkout_that_was_not_installed_says_what_it_lacks(
    core: Path, tmp_path: Path, run: Path
) -> None:
    """Then the first import that fails says it; so it is where one package is gone."""
    for path in core.iterdir():
        if not path.name.startswith("slimcls-"):
            (tmp_path / path.name).symlink_to(path.resolve())
    where = tmp_path / "here"
    where.mkdir()
    write_csv(where / "toy.csv", made_up_rows(60, 1))
    line = one_line(process(tmp_path, where, "slimcls", "train", *WORDS["train"]))
    assert "slimcls needs more packages (" in line
    assert [path.name for path in where.iterdir()] == ["toy.csv"]
    (where / "a.parquet").write_bytes(b"PAR1")
    line = one_line(process(tmp_path, where, "slimcls", "predict", run, "a.parquet"))
    assert "(pyarrow)" in line
