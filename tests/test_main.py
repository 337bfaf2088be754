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
from slimcls.cli.settings import settings_of
from slimcls.cli.values import in_words
from slimcls.config import RunConfig

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
    assert out == f"{console.overview()}\n"
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
    settings, given = parsed_by(verb, monkeypatch)
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


LOOK = f"print([name for name in {HEAVY} if name in sys.modules])"


def heavy_after(code: str) -> list[str]:
    """Names of heavy libraries that a process has imported when ``code`` is done."""
    done = in_own_process("-c", f"import sys\n{code}\n{LOOK}")
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


def parsed_by(verb: str, monkeypatch: pytest.MonkeyPatch) -> tuple[type, dict]:
    """The settings of a verb, and how it asks for them."""
    asked = []

    def seen(settings, argv, **given):
        asked.append((settings, given))
        raise KeyboardInterrupt

    module = importlib.import_module(f"slimcls.{verb}")
    with monkeypatch.context() as patch:
        patch.setattr(cli, "parse", seen)
        with pytest.raises(KeyboardInterrupt):
            module.main([])
    return asked[0]


#: Words that no setting can have, and what is said of them.
NO_TEXT = {"caf\udce9": r"caf\udce9: is no UTF-8 text", "a\0b": r"a\x00b: is no UTF-8 text"}
#: Words that no path can be.
NO_PATH = {
    "~nobody-of-that-name/x": "there is no user nobody-of-that-name",
    "x" * 5000: "is too long a name for a file",
    "out/" + "x" * 300: "is too long a name for a file",
    "x/" * 1000: "is more than 200 folders deep",
}


@pytest.mark.parametrize("verb", list(console.VERBS))
def test_no_verb_takes_words_that_are_no_text_or_no_path(verb, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    known, how = parsed_by(verb, monkeypatch)
    example = how["example"].split()[2:]
    bare = dict(zip(how["positional"], example, strict=False))
    rest = example[len(bare) :]
    seen = 0
    for setting in settings_of(known).values():
        kind = in_words(setting.hint)
        words = NO_TEXT if kind == "a text" else NO_TEXT | NO_PATH if "path" in kind else {}
        for word, said in words.items():
            for named in ([setting.flag, word], [f"{setting.flag}={word}"]):
                others = [word for name, word in bare.items() if name != setting.name]
                assert console.main([verb, *named, *others, *rest]) == 2
                out, err = capsys.readouterr()
                assert out == ""
                assert err.startswith(f"slimcls: error: {setting.flag} ")
                assert said in err
                assert err.count("\n") == 1
                assert len(err) < 200
                seen += 1
    assert seen >= 2 * len(NO_TEXT | NO_PATH)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", [*NO_TEXT, *NO_PATH, "\x1b[2J", "trian\n"])
def test_other_words_that_nobody_understands_are_one_line(word, capsys):
    for words in ([word], ["train", f"--{word}"], ["help", word], ["train", "sst2", word]):
        assert console.main(words) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("slimcls: error: ")
        assert err.count("\n") == 1
        assert err.strip().isprintable()
        assert len(err) < 400


def test_a_path_from_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = cli.parse(RunConfig, ["sst2", "--out=~/x"], prog="x", positional=("dataset",))
    assert config.out == str(tmp_path / "x")
    (tmp_path / "s.yaml").write_text("keep: 3\n")
    words = ["sst2", "--config", "~/s.yaml"]
    assert cli.parse(RunConfig, words, prog="x", positional=("dataset",)).keep == 3


#: For each verb words whose --out is a folder, or a file in one, that cannot be made.
UNWRITABLE = {
    "train": ["r.csv", "--model", "tiny-gpt2"],
    "grid": ["g.yaml"],
    "baseline": ["r.csv", "--model", "tiny-gpt2"],
    "score": ["tiny-gpt2", "--text", "r.csv"],
    "report": ["runs"],
    "prune": ["tiny-gpt2", "--keep", "2", "--text", "r.csv"],
    "export": ["runs"],
}
NAMES = {"score": "scores.json"}


@pytest.mark.parametrize("verb", UNWRITABLE)
@pytest.mark.parametrize("place", ["file", "/proc/nothing"])
def test_a_folder_that_cannot_be_written_is_found_before_anything_heavy(verb, place, tmp_path):
    (tmp_path / "r.csv").write_text("text,label\na,x\nb,y\n")
    (tmp_path / "g.yaml").write_text("dataset: r.csv\nmodel: tiny-gpt2\n")
    (tmp_path / "file").touch()
    words = [verb, *UNWRITABLE[verb], "--out", f"{place}/below/{NAMES.get(verb, '')}"]
    code = f"import os; os.chdir({str(tmp_path)!r})\n{RUN}assert code_of({words}) == 2"
    done = in_own_process("-c", f"import sys\n{code}\n{LOOK}")
    assert done.stdout.splitlines()[-1] == "[]"
    (line,) = done.stderr.splitlines()
    assert line.startswith("slimcls: error: --out ")
    assert "cannot be written" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "g.yaml", "r.csv"]
