"""The console script: verbs, help, version, and what a wrong verb gets."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import slimcls
from slimcls import __main__ as console

HEAVY = (
    *("torch", "transformers", "lightning", "datasets", "sklearn", "pandas", "pyarrow", "numpy"),
    *("scipy", "duckdb", "matplotlib", "ray", "peft", "tokenizers", "safetensors"),
)


def test_version(capsys):
    assert console.main(["--version"]) == 0
    assert capsys.readouterr().out == f"slimcls {slimcls.__version__}\n"


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_has_a_sentence_for_every_verb(capsys, word):
    assert console.main([word]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    for verb, what in console.VERBS.items():
        assert [verb, *what.split()] in lines
        assert what[0].isupper()
        assert what.endswith(".")


def test_every_verb_is_a_module():
    for verb in console.VERBS:
        assert Path(slimcls.__file__).with_name(f"{verb}.py").is_file()


def test_no_verb(capsys):
    assert console.main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("slimcls: error: no verb given; one of train, predict")
    assert err.count("\n") == 1


@pytest.mark.parametrize(("word", "nearest"), [("trian", "train"), ("predikt", "predict")])
def test_unknown_verb_names_the_nearest(capsys, word, nearest):
    assert console.main([word, "--keep", "2"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"slimcls: error: unknown verb '{word}'; did you mean '{nearest}'?")
    assert err.count("\n") == 1


def test_a_verb_gets_the_words_after_it_and_gives_the_exit_code(monkeypatch):
    seen = []

    def verb_main(argv: list[str] | None) -> int:
        seen.append(argv)
        return 7

    monkeypatch.setitem(sys.modules, "slimcls.train", SimpleNamespace(main=verb_main))
    monkeypatch.setattr(sys, "argv", ["slimcls", "train", "--keep", "2"])
    assert console.main() == 7
    assert console.main(["train"]) == 7
    assert seen == [["--keep", "2"], []]


def in_own_process(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)


def test_the_package_runs_as_a_module():
    done = in_own_process("-m", "slimcls", "trian")
    assert done.returncode == 2
    assert "did you mean 'train'" in done.stderr


RUN = """
from slimcls.__main__ import main
def code_of(words):
    try:
        return main(words)
    except SystemExit as stop:
        return stop.code
"""


def heavy_after(code: str) -> list[str]:
    """Names of heavy libraries that a process has imported when ``code`` is done."""
    look = f"print([name for name in {HEAVY} if name in sys.modules])"
    done = in_own_process("-c", f"import sys\n{code}\n{look}")
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("verb", list(console.VERBS))
def test_help_and_a_wrong_flag_import_nothing_heavy(verb):
    codes = f"(code_of(['{verb}', '--help']), code_of(['{verb}', '--no-such-flag']))"
    assert heavy_after(f"{RUN}assert {codes} == (0, 2)") == []


def test_the_console_alone_imports_nothing_heavy():
    codes = "(code_of(['--help']), code_of(['--version']), code_of(['trian']))"
    assert heavy_after(f"{RUN}assert {codes} == (0, 0, 2)") == []


@pytest.mark.parametrize("module", ["slimcls", "slimcls.runs", "slimcls.config", "slimcls.cli"])
def test_what_others_import_first_imports_nothing_heavy(module):
    assert heavy_after(f"import {module}") == []


@pytest.mark.parametrize("verb", list(console.VERBS))
def test_a_verb_is_the_same_command_as_its_module(verb):
    words = ["--no-such-flag", "1"]
    as_verb = in_own_process("-m", "slimcls", verb, *words)
    as_module = in_own_process("-m", f"slimcls.{verb}", *words)
    assert as_verb.returncode == as_module.returncode == 2
    assert as_verb.stderr == as_module.stderr
    assert as_verb.stderr.startswith("slimcls: error: ")
