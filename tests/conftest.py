"""Shared by all tests: a cache of their own, no network, made-up texts."""

from __future__ import annotations

import csv
import gc
import importlib.util
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from processes import PATIENCE as PATIENCE
from processes import environment, finished

# Before anything imports a Hugging Face library: a test must never wait for a network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
# Nor on another test process: where there are as many as processors, two threads of one spin while
# they wait for each other, and a step of a tiny model takes ten times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

ROOT = Path(__file__).parents[1]
WORDS = {
    "weather": ["rain", "wind", "sun", "storm", "cloud", "frost", "warm", "cold", "snow", "mist"],
    "food": ["bread", "soup", "salt", "plate", "cook", "taste", "apple", "pepper", "oven", "honey"],
    "travel": ["train", "road", "ticket", "map", "port", "bridge", "hotel", "border", "ferry"],
}
FILLER = ["the", "a", "of", "in", "on", "was", "seen", "again", "today", "near", "old", "some"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a test of the marker ``fault`` withstands goes into its report."""
    for item in items:
        if mark := item.get_closest_marker("fault"):
            item.user_properties.append(("fault", mark.args[0]))


def pytest_collection_finish() -> None:
    """What is imported by now stays: a tenth of what is traced was time to look it through."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Counts by kind, where tests of the marker ``fault`` were run."""
    for outcome in ("passed", "failed"):
        found = Counter(
            kind
            for report in terminalreporter.getreports(outcome)
            for name, kind in report.user_properties
            if name == "fault" and report.when == "call"
        )
        if found:
            counts = ", ".join(f"{count} {kind}" for kind, count in sorted(found.items()))
            terminalreporter.write_line(f"faults {outcome}: {counts}")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One cache for all processes of a test run, so that models are made once."""
    environment()
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    os.environ["SLIMCLS_CACHE"] = str(shared / "slimcls-cache")


@pytest.fixture(autouse=True)
def _own_threads() -> Iterator[None]:
    """As many threads for the next test: what a served classifier asks for is set for good."""
    yield
    torch: Any = sys.modules.get("torch")
    threads = int(os.environ["OMP_NUM_THREADS"])
    if hasattr(torch, "set_num_threads") and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


@contextmanager
def ended(words: Sequence[object], **more: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that is over when the block is, however that ends: none is waited for in vain."""
    with subprocess.Popen(list(map(str, words)), **more) as process:
        try:
            yield process
        finally:
            process.kill()


def load_script(name: str) -> ModuleType:
    """A file of scripts/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made_up_rows(count: int, seed: int) -> list[tuple[str, str]]:
    """Distinct texts of three classes that a few words tell apart, and their labels."""
    chance = random.Random(seed)
    rows = []
    for place in range(count):
        label = list(WORDS)[place % len(WORDS)]
        words = chance.choices(FILLER, k=chance.randint(3, 12)) + chance.choices(WORDS[label], k=3)
        chance.shuffle(words)
        rows.append((" ".join([*words, f"number {seed}{place}"]), label))
    return rows


def write_csv(path: Path, rows: list[tuple[str, str]]) -> Path:
    """A CSV file with the columns text and label."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(rows)
    return path


def made_up_pairs(count: int, seed: int) -> list[tuple[str, str, str]]:
    """Distinct pairs of texts, of like topics or not, and which."""
    chance = random.Random(seed)
    rows = []
    for place in range(count):
        first = chance.choice(list(WORDS))
        same = place % 2 == 0
        second = first if same else chance.choice([topic for topic in WORDS if topic != first])
        texts = [
            " ".join([*chance.choices(FILLER, k=chance.randint(1, 6)), *chance.choices(words, k=3)])
            for words in (WORDS[first], WORDS[second])
        ]
        label = "same" if same else "other"
        rows.append((f"{texts[0]} number {seed}{place}", f"{texts[1]} {seed}{place}", label))
    return rows


def write_pairs(
    path: Path,
    rows: list[tuple[str, str, str]],
    header: tuple[str, str] = ("premise", "hypothesis"),
) -> Path:
    """A CSV file with two columns of texts and a label."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*header, "label"])
        writer.writerows(rows)
    return path


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.csv and test.csv of made-up texts, three classes."""
    folder = tmp_path_factory.mktemp("data") / "toy"
    folder.mkdir()
    write_csv(folder / "train.csv", made_up_rows(300, 1))
    write_csv(folder / "test.csv", made_up_rows(60, 2))
    return folder


Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs ``python -m ARGS`` in an empty folder and returns the finished process."""

    def run(*args: object, **extra: str) -> subprocess.CompletedProcess[str]:
        return finished("-m", *args, cwd=tmp_path, **extra)

    return run


@pytest.fixture
def exact_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Llama's norm computes in float32 whatever the model does; here in the model's own type."""
    import torch
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    def forward(self: Any, hidden: Any) -> Any:
        variance = hidden.pow(2).mean(-1, keepdim=True)
        return self.weight * hidden * torch.rsqrt(variance + self.variance_epsilon)

    monkeypatch.setattr(LlamaRMSNorm, "forward", forward)
