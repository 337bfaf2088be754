"""Words to settings, and what a command's end says to the shell."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from slimcls import cli
from slimcls.baseline import BaselineConfig
from slimcls.cli.settings import settings_of
from slimcls.config import RunConfig, flag
from slimcls.errors import Interrupted, UserError
from slimcls.predict import PredictConfig


def run_config(*words: str) -> RunConfig:
    return cli.parse(RunConfig, ["--dataset", "sst2", *words], prog="slimcls train")


def predict_config(*words: str) -> PredictConfig:
    positional = ("run", "input")
    return cli.parse(PredictConfig, list(words), prog="slimcls predict", positional=positional)


@pytest.mark.parametrize(
    "words",
    [
        ["--batch-size", "4", "--lm-loss", "sequence", "--mode", "lm"],
        ["--batch_size", "4", "--lm_loss", "sequence", "--mode", "lm"],
        ["--batch-size=4", "--lm_loss=sequence", "--mode=lm"],
    ],
)
def test_spellings(words: list[str]) -> None:
    config = run_config(*words)
    assert (config.batch_size, config.lm_loss, config.mode) == (4, "sequence", "lm")


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["--overwrite"], True),
        (["--overwrite", "--keep", "2"], True),
        (["--overwrite", "true"], True),
        (["--overwrite=true"], True),
        (["--overwrite", "false"], False),
        (["--no-overwrite"], False),
        (["--overwrite", "--no-overwrite"], False),
        ([], False),
    ],
)
def test_switches(words: list[str], value: bool) -> None:
    assert run_config(*words).overwrite is value


def test_a_switch_that_is_on_is_turned_off() -> None:
    assert run_config().share_prefix
    assert not run_config("--no-share-prefix").share_prefix
    assert not run_config("--no_share_prefix").share_prefix


@pytest.mark.parametrize(
    ("words", "layers"),
    [
        (["--layers", "0,1,5"], [0, 1, 5]),
        (["--layers=0,1,5"], [0, 1, 5]),
        (["--layers", "[0, 1, 5]"], [0, 1, 5]),
        (["--layers", "3"], [3]),
    ],
)
def test_layers(words: list[str], layers: list[int]) -> None:
    config = run_config(*words)
    assert (config.layers, config.keep) == (layers, len(layers))


def test_words_that_stay_texts() -> None:
    assert run_config("--revision", "1.0").revision == "1.0"
    assert run_config("--revision=null").revision is None
    assert run_config("--shots", "all").shots == "all"
    assert run_config("--shots", "7").shots == 7
    assert run_config("--keep", "all").keep == "all"
    assert run_config("--lr", "5e-5").lr == 5e-5
    assert run_config("--model", "./a=b").model == "./a=b"


def test_a_file_of_settings(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "dataset: trec\nkeep: 3\nlr: 5e-5\nshots: all\nbatch_size: 8\nmax-text-tokens: null\n"
        "overwrite: true\nshare_prefix: false\ntext_column: null\n"
    )
    config = cli.parse(RunConfig, ["--config", str(path)], prog="slimcls train")
    assert (config.dataset, config.keep, config.lr, config.shots) == ("trec", 3, 5e-5, "all")
    assert (config.batch_size, config.max_text_tokens, config.overwrite) == (8, None, True)
    assert not config.share_prefix
    for words in (
        ["--keep", "5", "--config", str(path)],
        [f"--config={path}", "--keep=5"],
        ["--config", str(path), "--keep", "4", "--keep", "5"],
    ):
        assert cli.parse(RunConfig, words, prog="slimcls train").keep == 5
    other = tmp_path / "other.yaml"
    other.write_text("keep: 6\nlayers: null\n")
    words = ["--config", str(path), "--config", str(other)]
    assert cli.parse(RunConfig, words, prog="slimcls train").keep == 6
    other.write_text("layers: [0, 2, 5]\nkeep: null\n")
    assert cli.parse(RunConfig, words, prog="slimcls train").layers == [0, 2, 5]
    for written, layers in (("0,2", [0, 2]), ("'0, 2'", [0, 2]), ("3", [3])):
        other.write_text(f"layers: {written}\nkeep: null\n")
        assert cli.parse(RunConfig, words, prog="slimcls train").layers == layers


def test_an_empty_file_of_settings(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("# nothing\n")
    with pytest.raises(UserError, match="must be a mapping"):
        run_config("--config", str(path))


@pytest.mark.parametrize(
    "words",
    [
        ["RUN", "some text"],
        ["--strict", "RUN", "some text"],
        ["RUN", "--batch-size", "3", "some text"],
        ["RUN", "some text", "--overwrite"],
        ["--run", "RUN", "--input", "some text"],
        ["--input=some text", "--run=RUN"],
        ["--run", "RUN", "some text"],
        ["RUN", "--input", "some text"],
        ["--input", "some text", "--", "RUN"],
    ],
)
def test_bare_words(words: list[str]) -> None:
    config = predict_config(*words)
    assert (config.run, config.input) == ("RUN", "some text")


def test_a_bare_word_beside_the_flag_that_it_stands_for_is_one_too_many() -> None:
    with pytest.raises(UserError, match="unexpected word 'other'"):
        predict_config("RUN", "--input", "some text", "other")


def test_a_bare_word_wins_over_a_file_of_settings(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("dataset: trec\nkeep: 3\n")
    words = ["--config", str(path), "sst2"]
    config = cli.parse(RunConfig, words, prog="slimcls train", positional=("dataset",))
    assert (config.dataset, config.keep) == ("sst2", 3)


def test_a_bare_word_may_begin_with_a_dash() -> None:
    assert predict_config("RUN", "-5 degrees").input == "-5 degrees"


@pytest.mark.parametrize("text", ["--no way", "---", "--strict", "--out=x", "--config", "- x", "a"])
def test_after_two_dashes_words_are_taken_as_they_stand(text: str) -> None:
    for words in (["RUN", "--batch-size", "3", "--"], ["--batch-size=3", "--", "RUN"]):
        config = predict_config(*words, text)
        assert (config.run, config.input, config.batch_size) == ("RUN", text, 3)
        assert (config.strict, config.out) == (False, None)
    with pytest.raises(UserError, match="unexpected word '--more' after --"):
        predict_config("RUN", "--", text, "--more")


def test_help_shows_where_bare_words_go(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        predict_config("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith("usage: slimcls predict RUN INPUT [--name value ...]")
    assert "slimcls predict ... -- '--no way'" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kep", "2"], "unknown flag --kep; did you mean --keep?"),
        (["--no-overwritte"], "unknown flag --overwritte"),
        (["--zzzzz"], "unknown flag --zzzzz; see --help"),
        (["--keep"], "--keep: needs a value"),
        (["--batch-size", "four"], "--batch-size four: must be a whole number"),
        (["--batch-size", "4.5"], "--batch-size 4.5: must be a whole number"),
        (["--clip", "much"], "--clip much: must be a number"),
        (["--overwrite=maybe"], "--overwrite maybe: must be true or false"),
        (["--mode", "pcls"], "did you mean p-cls?"),
        (["--lm-loss", "seq", "--mode", "lm"], "must be one of label-words, label-token, sequence"),
        (["word"], "unexpected word 'word'"),
        (["--", "word"], "unexpected word 'word'"),
        (["--layers", ""], "--layers: names no layer"),
        (["--layers="], "--layers: names no layer"),
        (["--layers", "a"], "--layers a: must be whole numbers with commas between them"),
        (["--layers", "--keep", "2"], "--layers: needs a value"),
        (["--seed", "1" * 5000], f"--seed {'1' * 57}...: must be a whole number"),
        (["--seed", "0x10"], "--seed 0x10: must be a whole number"),
        (["--clip", "nan"], "--clip nan: must be a number"),
        (["--clip", "inf"], "--clip inf: must be a number"),
        (["--no-keep"], "--keep false: must be a whole number or all"),
        (["--learning-rate", "1"], "unknown flag --learning-rate; did you mean --lr?"),
        (["--learning_rate=1"], "unknown flag --learning-rate; did you mean --lr?"),
    ],
)
def test_faults_are_one_line(words: list[str], message: str) -> None:
    with pytest.raises(UserError) as fault:
        run_config(*words)
    assert message in str(fault.value)
    assert "\n" not in str(fault.value)


def test_settings_named_as_elsewhere_are_pointed_to_ours(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("learning_rate: 0.1\n")
    with pytest.raises(UserError, match="unknown setting 'learning_rate'; did you mean 'lr'"):
        run_config("--config", str(path))
    ours = {flag(field) for field in vars(run_config())}
    assert set(cli.ELSEWHERE.values()) <= ours
    assert not set(cli.ELSEWHERE) & ours
    with pytest.raises(UserError, match="unknown flag --learning-rate") as fault:
        predict_config("RUN", "text", "--learning-rate", "1")
    assert "--lr" not in str(fault.value)


def help_of(settings: type, capsys: pytest.CaptureFixture[str], **others: Any) -> str:
    with pytest.raises(SystemExit) as stop:
        cli.parse(settings, ["--help"], prog="slimcls verb", **others)
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_help_has_a_sentence_for_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(RunConfig, capsys)
    for name in ("config", *vars(run_config())):
        (entry,) = re.findall(rf"^  {flag(name)}(?: .*)?\n((?:      .*\n)+)", text, re.MULTILINE)
        assert entry.split()[0][0].isalnum()
        assert entry.rstrip().endswith(".")
    assert "_" not in "".join(re.findall(r"--\S+", text)), "one spelling of each"
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    "line",
    [
        "  --shots a whole number or all (default: 200)",
        "  --mode one of lm, p-cls, cls (default: p-cls)",
        "  --layers whole numbers with commas between them, as in 0,1,5",
        "  --lr a number",
        "  --overwrite (default: off)",
        "  --share-prefix (default: on)",
        "  --dataset a name or a path (required)",
        "  --out a path (default: runs)",
        "  --text-column a text",
    ],
)
def test_help_says_in_words_what_a_setting_takes(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"\n{line}\n" in help_of(RunConfig, capsys)


def test_help_opens_with_an_example_and_has_settings_in_groups(
    capsys: pytest.CaptureFixture[str],
) -> None:
    groups = {"keep": "the cut", "select": "the cut", "dataset": "the items"}
    text = help_of(RunConfig, capsys, example="slimcls verb x.csv", groups=groups)
    heads = [line for line in text.splitlines() if re.fullmatch(r"[a-z ]+:", line)]
    assert heads == ["example:", "settings:", "the items:", "the cut:"]
    assert "\n  slimcls verb x.csv\n" in text
    cut = text.split("the cut:\n")[1].split("\n\n")[0]
    assert re.findall(r"^  (--\S+)", cut, re.MULTILINE) == ["--keep", "--select"]


def test_help_has_the_sentences_of_settings_that_are_extended(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = " ".join(help_of(BaselineConfig, capsys).split())
    assert "Training examples per class, or all." in text
    assert "majority: the most frequent class." in text
    assert text.count("--save-model") == 1
    assert "of what can classify: all methods but probe; none does not." in text


def test_settings_of_another_command() -> None:
    """The parser takes any dataclass: nothing in it knows of runs."""

    @dataclass(kw_only=True)
    class Other:
        """Another command."""

        some_file: str
        many: bool = False

    config = cli.parse(Other, ["x.csv", "--many"], prog="other", positional=("some_file",))
    assert config == Other(some_file="x.csv", many=True)


@pytest.mark.parametrize(
    ("end", "code", "message"),
    [
        (UserError("what, where,\nwhat to do"), 2, "slimcls: error: what, where, what to do\n"),
        (
            PermissionError(13, "Permission denied", "a/b"),
            2,
            "slimcls: error: a/b: Permission denied\n",
        ),
        (KeyboardInterrupt(), 130, "slimcls: stopped; the same command goes on"),
        (Interrupted(signal.SIGTERM, "saved in x"), 143, "slimcls: saved in x\n"),
        (Interrupted(signal.SIGINT, "saved in x"), 130, "slimcls: saved in x\n"),
    ],
)
def test_ends(
    end: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> int:
        raise end

    assert cli.run(command) == code
    errors = capsys.readouterr().err
    assert errors.startswith(message)
    assert errors.count("\n") == 1


def test_a_good_end_and_a_bug() -> None:
    assert cli.run(lambda: 0) == 0

    def bug() -> int:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        cli.run(bug)

    def of_no_file() -> int:
        raise PermissionError("a bug")

    with pytest.raises(PermissionError, match="a bug"):
        cli.run(of_no_file)


PROGRAM = """import os, sys
from slimcls import cli
from slimcls.errors import UserError
def main():
    {body}
    return 0
sys.exit(cli.run(main))
"""


def in_shell(body: str, redirect: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """A command whose work is ``body``, in a process of its own."""
    return subprocess.run(
        ["bash", "-c", f'exec "$0" -c "$1" {redirect}', sys.executable, PROGRAM.format(body=body)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )


@pytest.mark.parametrize(
    ("body", "code", "errors"),
    [
        ("raise ValueError('a bug')", 1, "ValueError: a bug"),
        ("raise UserError('a fault')", 2, "slimcls: error: a fault"),
        ("raise UserError('begin' + 'x' * 9000 + 'end')", 2, "x" * 290 + "end"),
        ("cli.say('done')", 0, ""),
    ],
)
def test_exit_codes_of_a_process(body: str, code: int, errors: str) -> None:
    done = in_shell(body)
    assert done.returncode == code
    assert errors in done.stderr
    assert ("Traceback" in done.stderr) is (code == 1)


@pytest.mark.parametrize("printed", ["print('x' * 99)", "cli.say('x' * 99)"])
def test_a_reader_that_has_gone(printed: str) -> None:
    """What ``| head`` does to a long output."""
    done = in_shell(f"[{printed} for _ in range(9999)]", "> >(exec <&-)")
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize(
    ("redirect", "reason"), [("> /dev/full", "No space left on device"), (">&-", "it is closed")]
)
def test_output_that_cannot_be_written(redirect: str, reason: str) -> None:
    """The work is done: what it ends with is said on stderr, and the exit code tells."""
    done = in_shell("cli.say('saved in x')", redirect)
    assert done.returncode == cli.UNSAID == 74
    first, second = done.stderr.splitlines()
    assert first == "saved in x"
    assert second.startswith(f"slimcls: error: standard output cannot be written ({reason}")


@pytest.mark.parametrize("count", [1, 9999])
def test_plain_prints_that_cannot_be_written(count: int) -> None:
    done = in_shell(f"[print('x' * 99) for _ in range({count})]", "> /dev/full")
    assert done.returncode == cli.UNSAID
    assert done.stderr.count("\n") == 1


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    path = tmp_path / "file"
    body = f"file = open({str(path)!r}, 'w'); os.write(2, b'fault'); assert file.fileno() > 2"
    done = in_shell(body, ">&- 2>&- <&-")
    assert (done.returncode, path.read_text()) == (0, "")


def test_letters_that_a_locale_lacks() -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = in_shell("cli.say('gr\\xf6\\xdfe \\u4e2d \\ud800')", **ascii_only)
    assert (done.returncode, done.stdout) == (0, "gr\\xf6\\xdfe \\u4e2d \\ud800\n")
    done = in_shell("raise UserError('gr\\xf6\\xdfe')", **ascii_only)
    assert (done.returncode, done.stderr) == (2, "slimcls: error: gr\\xf6\\xdfe\n")
    done = in_shell("cli.say('\\ud800 \\xf6')", LC_ALL="C.UTF-8")
    assert (done.returncode, done.stdout) == (0, "\\ud800 \xf6\n")


@pytest.mark.parametrize("name", ["teacher", "unlabelled", "data_dir"])
def test_a_path_that_there_cannot_be_is_told_as_such(name: str) -> None:
    """A UserError is a ValueError, which a union of types else takes for another type's."""
    said = "there is no user nobody-of-that-name"
    with pytest.raises(UserError, match=said):
        settings_of(RunConfig)[name].value("~nobody-of-that-name/x")
    with pytest.raises(UserError, match=said):
        settings_of(RunConfig)[name].kept("~nobody-of-that-name/x")
