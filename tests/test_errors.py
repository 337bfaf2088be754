"""What bad input gets: one clear line, exit code 2, nothing half-written."""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from conftest import ROOT, Command, made_up_rows, write_csv

from slimcls import cli
from slimcls.backbones import sources
from slimcls.errors import UserError
from slimcls.train import main

QUICK = ["--model", "tiny-gpt2", "--shots", "8", "--epochs", "1", "--lr", "1e-3"]
HEAVY = ("torch", "transformers", "lightning", "datasets", "sklearn", "peft")


def refused(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run the train command in this process; return its one line."""
    out = tmp_path / "runs"
    code = cli.run(lambda: main([*words, "--out", str(out)]))
    errors = capsys.readouterr().err
    last = errors.splitlines()[-1]
    assert code == 2, errors
    assert last.startswith("slimcls: error: ")
    assert "Traceback" not in errors
    assert not list(out.glob("*/result.parquet"))
    assert not list(out.rglob("*.tmp"))
    return last


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--keep 0", "--keep 0: at least one layer"),
        ("--keep -3", "--keep -3: at least one layer"),
        ("--keep two", "must be a whole number or all"),
        ("--layers 0,0,1", "each layer once"),
        ("--layers 3,1", "must be ascending"),
        ("--layers 0,-1", "numbered from 0"),
        ("--layers 0,x", "whole numbers with commas"),
        ("--layers 0,1 --keep 3", "--layers names 2"),
        ("--select bii", "unknown --select"),
        ("--mode pcls", "did you mean p-cls?"),
        ("--mdel x", "did you mean --model?"),
        ("--tune lara", "did you mean 'lora'?"),
        ("--tune last-9 --keep 2", "from last-1 to last-2"),
        ("--tune last-0 --keep all", "trains nothing; at least last-1"),
        ("--scores scores.json", "--select first needs none; name the criterion"),
        ("--tune head --mode lm", "no head to train"),
        ("--lm-loss sequence --mode cls", "only --mode lm"),
        ("--mode lm --lm-loss sequence --class-weights", "not with --lm-loss"),
        ("--shots none", "must be a whole number or all"),
        ("--shots 0", "at least 1"),
        ("--seed 99999999999999999999", "below 2^63"),
        ("--lr 0", "above 0"),
        ("--lr fast", "must be a number"),
        ("--warmup 1.5", "whole steps, or a share"),
        ("--batch-size 0", "at least 1"),
        ("--epochs -1", "at least 0"),
        ("--devices 2", "--strategy ddp"),
        ("--precision 8", "must be one of auto, 32, bf16, 16"),
        ("--precision 16 --accelerator cpu", "use bf16 or 32"),
        ("--max-text-tokens 0", "at least 1"),
        ("--config nowhere.yaml", "no such file"),
        ("--config", "needs the name"),
        ("stray", "unexpected word 'stray'"),
        ("--dataset sst", "did you mean 'sst2'?"),
        ("--dataset nowhere.csv", "nowhere.csv"),
        ("--model gpt2xl", "did you mean 'gpt2-xl'?"),
        ("--model ./nowhere", "nowhere"),
        ("--save-model last", "must be one of best, none"),
    ],
)
def test_settings(
    words: str, message: str, toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(["--dataset", str(toy), *QUICK, *words.split()], tmp_path, capsys)
    assert message in line
    assert not (tmp_path / "runs").exists()


def test_no_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "DATASET is missing: slimcls train DATASET [" in refused(QUICK, tmp_path, capsys)


@pytest.mark.parametrize(
    "words", ["--keep 0 --dataset sst2", "--mdel x", "--dataset sst", "--help"]
)
def test_settings_are_checked_without_heavy_imports(words: str, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom slimcls import cli\nfrom slimcls.train import main\n"
        "try:\n    code = cli.run(main)\nexcept SystemExit as stop:\n    code = stop.code\n"
        f"heavy = [name for name in {HEAVY} if name in sys.modules]\n"
        "print('HEAVY', heavy, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words.split()],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.stderr.splitlines()[-1] == "HEAVY []"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("kep: 2\n", "did you mean 'keep'?"),
        ("keep: two\n", "must be a whole number or all"),
        ("keep: [2, 3]\n", "must be a whole number or all"),
        ("- keep\n", "must be a mapping"),
        ("keep: 2: 3\n", "line 1: not YAML"),
        ("mode: cls\nlm-loss: sequence\n", "only --mode lm"),
    ],
)
def test_yaml(
    content: str, message: str, toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(content)
    line = refused(["--config", str(path), "--dataset", str(toy), *QUICK], tmp_path, capsys)
    assert message in line


def test_settings_that_the_model_refuses(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, message in {
        "--keep 7": "has 6 layers",
        "--layers 0,6": "numbered from 0 to 5",
        "--select bii": "unknown --select",
        "--shots 4000": "shots",
        "--demos 60 --shots 2": "context",
        "--max-text-tokens 4000 --mode cls": "context",
        "--accelerator gpu": "this machine has none",
        "--logger wandb": "pip install wandb",
    }.items():
        if words == "--accelerator gpu" and torch.cuda.is_available():
            continue
        line = refused(["--dataset", str(toy), *QUICK, *words.split()], tmp_path, capsys)
        assert message in line, line
        assert words == "--logger wandb" or not list((tmp_path / "runs").glob("*"))


def model_folder(tmp_path: Path, name: str = "tiny-gpt2") -> Path:
    folder = tmp_path / "model"
    shutil.copytree(sources.find(name, None).folder, folder)
    return folder


class Payload:
    """What a pickle must never run."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, ("touch PWNED",)


def _no_config(folder: Path) -> str:
    (folder / "config.json").unlink()
    return "config.json"


def _truncated(folder: Path) -> str:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    return "model.safetensors"


def _garbage(folder: Path) -> str:
    (folder / "model.safetensors").write_bytes(b"\x10" * 400)
    return "model.safetensors"


def _evil_pickle(folder: Path) -> str:
    (folder / "model.safetensors").unlink()
    torch.save({"wte.weight": torch.zeros(2), "x": Payload()}, folder / "pytorch_model.bin")
    return "pytorch_model.bin"


def _bare_pickle(folder: Path) -> str:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload()))
    return "pytorch_model.bin"


def _no_weights(folder: Path) -> str:
    (folder / "model.safetensors").unlink()
    return "weights"


def _other_architecture(folder: Path) -> str:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    return "'bert' is not supported"


@pytest.mark.parametrize(
    "spoil",
    [_no_config, _truncated, _garbage, _evil_pickle, _bare_pickle, _no_weights,
     _other_architecture],
)  # fmt: skip
def test_model_folders(
    spoil: Callable[[Path], str], toy: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    folder = model_folder(tmp_path)
    message = spoil(folder)
    line = refused(
        ["--dataset", str(toy), *QUICK, "--model", str(folder), "--mode", "cls"], tmp_path, capsys
    )
    assert message in line
    assert not (tmp_path / "PWNED").exists()


def test_changed_weights_are_another_run(toy: Path, tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    words = ["--dataset", str(toy), *QUICK, "--mode", "cls", "--out", str(tmp_path / "runs")]
    words += ["--model", str(folder)]
    assert main(words) == 0
    other = sources.find("tiny-gpt2", None).folder / "model.safetensors"
    from safetensors.torch import load_file, save_file

    tensors = load_file(other)
    name = next(iter(tensors))
    tensors[name] = tensors[name] + 0.01
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert main(words) == 0
    assert len(list((tmp_path / "runs").glob("*/result.parquet"))) == 2


ROWS = made_up_rows(60, 5)


def _file(tmp_path: Path, content: bytes) -> list[str]:
    (tmp_path / "rows.csv").write_bytes(content)
    return ["--dataset", str(tmp_path / "rows.csv")]


CSV_HEAD = b"text,label\n"
GOOD = b"".join(f"{text},{label}\n".encode() for text, label in ROWS)


@pytest.mark.parametrize(
    ("content", "more", "message"),
    [
        (b"", "", "empty"),
        (CSV_HEAD, "", "rows.csv"),
        (CSV_HEAD + GOOD, "--text-column body", "body"),
        (CSV_HEAD + GOOD, "--label-column body", "body"),
        (CSV_HEAD + b"one,a\ntwo,a\nthree,a\n", "", "one class only"),
        (CSV_HEAD + GOOD + b",food\n", "", "line 62"),
        (CSV_HEAD + GOOD + b"caf\xe9 au lait,food\n", "", "UTF-8"),
        (CSV_HEAD + GOOD, "--text-column text,label", "text,label"),
    ],
)
def test_data_files(
    content: bytes, more: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused([*_file(tmp_path, content), *QUICK, *more.split()], tmp_path, capsys)
    assert message in line, line


def test_label_in_test_that_train_lacks(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    write_csv(folder / "train.csv", ROWS)
    write_csv(folder / "test.csv", [*ROWS[:9], ("something else", "sport")])
    line = refused(["--dataset", str(folder), *QUICK], tmp_path, capsys)
    assert "sport" in line
    assert "train" in line


def test_hub_model_without_network(tmp_path: Path, toy: Path, command: Command) -> None:
    environment = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": "home"}
    for model in ("gpt2", "some-org/some-model"):
        done = command(
            "slimcls.train", "--dataset", toy, *QUICK[2:], "--model", model, **environment
        )
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert "does not answer" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_output_folder_without_permission(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert "cannot be written" in refused(["--dataset", str(toy), *QUICK], tmp_path, capsys)
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_output_folder_that_is_a_file(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").write_text("in the way")
    assert "cannot be written" in refused(["--dataset", str(toy), *QUICK], tmp_path, capsys)


@pytest.mark.parametrize("limit", [20_000, 200_000, 400_000])
def test_disk_full_while_saving(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], limit: int
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    sources.find("tiny-gpt2", None)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        words = ["--dataset", str(toy), *QUICK, "--keep", "6", "--checkpoint-seconds", "0"]
        line = refused(words, tmp_path, capsys)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "cannot be written" in line
    (run,) = (tmp_path / "runs").iterdir()
    assert not (run / "model").exists()


@pytest.mark.fault("races")
def test_two_processes_one_run(toy: Path, tmp_path: Path) -> None:
    from slimcls.runs.folder import locked

    folder = tmp_path / "run"
    program = f"from slimcls.runs import locked\nfrom pathlib import Path\nwith locked(Path({str(folder)!r})):\n    pass"  # noqa: E501
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with locked(folder):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment
        )
        assert "another process is working on this run" in done.stderr
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


def test_result_of_another_schema_version(tmp_path: Path) -> None:
    import pandas as pd

    from slimcls.runs.results import read_result

    assert read_result(tmp_path) is None
    pd.DataFrame([{"schema_version": 99}]).to_parquet(tmp_path / "result.parquet")
    with pytest.raises(UserError, match="schema version 99"):
        read_result(tmp_path)
    (tmp_path / "result.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="cannot be read"):
        read_result(tmp_path)


def test_too_big_a_run_says_what_would_fit(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from slimcls.backbones import sizes

    monkeypatch.setattr(sizes, "available_memory", lambda device: 3_000_000)
    words = ["--dataset", str(toy), *QUICK, "--keep", "6", "--mode", "cls"]
    line = refused(words, tmp_path, capsys)
    assert "--keep 6 of tiny-gpt2 needs" in line
    assert "--force" in line
    assert main([*words, "--force", "--out", str(tmp_path / "runs")]) == 0


def test_a_loss_that_is_no_number(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--dataset", str(toy), *QUICK[:4], "--mode", "cls", "--epochs", "20"]
    words += ["--lr", "0.9", "--clip", "0", "--warmup", "0", "--weight-decay", "1000"]
    line = refused(words, tmp_path, capsys)
    assert "at step" in line
    assert "learning rate 0.9" in line or "learning rate" in line
    assert "--lr" in line


def test_saved_settings_are_settings(toy: Path, tmp_path: Path) -> None:
    words = ["--dataset", str(toy), *QUICK, "--mode", "cls", "--out", str(tmp_path / "runs")]
    assert main(words) == 0
    (run,) = (tmp_path / "runs").iterdir()
    saved = run / "config.yaml"
    before = (run / "result.parquet").stat().st_mtime_ns
    assert yaml.safe_load(saved.read_text())["layers"] == [0, 1]
    assert main(["--config", str(saved)]) == 0
    assert (run / "result.parquet").stat().st_mtime_ns == before
