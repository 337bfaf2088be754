"""The console script: verbs, help, version, and what a wrong verb gets."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import slimcls
from slimcls import __main__ as console
from slimcls import cli

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


@pytest.mark.parametrize("words", [[], ["help"], ["-h"], ["--help"]])
def test_whoever_asks_for_no_verb_is_told_of_all(capsys, words):
    assert console.main(words) == 0
    out, err = capsys.readouterr()
    assert out == f"{console.usage()}\n"
    assert err == ""


@pytest.mark.parametrize("verb", list(console.VERBS))
def test_help_of_a_verb(capsys, verb):
    said = []
    for words in (["help", verb], [verb, "--help"]):
        with pytest.raises(SystemExit) as stop:
            console.main(words)
        assert stop.value.code == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    usage, _, example = said[0].partition("example:\n  ")
    assert usage.startswith(f"usage: slimcls {verb} ")
    assert example.startswith(f"slimcls {verb} ")
    assert console.main(["help", "trian"]) == 2
    assert "did you mean 'train'?" in capsys.readouterr().err


@pytest.mark.parametrize("verb", list(console.VERBS))
def test_the_example_of_a_verb_is_taken_by_it(monkeypatch, tmp_path, verb):
    monkeypatch.chdir(tmp_path)
    asked = []

    def seen(settings, argv, **given):
        asked.append((settings, given))
        raise KeyboardInterrupt

    module = importlib.import_module(f"slimcls.{verb}")
    with monkeypatch.context() as patch:
        patch.setattr(cli, "parse", seen)
        with pytest.raises(KeyboardInterrupt):
            module.main([])
    ((settings, given),) = asked
    words = given["example"].split()
    assert words[:2] == given["prog"].split() == ["slimcls", verb]
    assert not words[2].startswith("-"), "bare words first"
    assert cli.parse(settings, words[2:], **given)


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
