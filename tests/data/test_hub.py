"""Hub datasets against a hub on loopback, each run in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from conftest import PATIENCE
from hub_server import serve_hub

ROOT = Path(__file__).parents[2]
PACKAGED = ("sst2", "trec", "emoc", "agnews")

OWN = {
    "topics": "hub: Some/topics\nsplits: {train: train, test: test}\npool: true",
    "script": "hub: Some/script\nsplits: {train: train, test: test}",
    "closed": "hub: Some/closed\nsplits: {train: train, test: test}",
    "absent": "hub: Some/absent\nsplits: {train: train, test: test}",
    "revision": "hub: stanfordnlp/sst2\nrevision: v9\nsplits: {train: train, test: test}",
    "split": "hub: stanfordnlp/sst2\nsplits: {train: train, test: held-out}",
    "columns": "hub: stanfordnlp/sst2\nsplits: {train: train, test: test}",
}

RUN = """
import json, sys
from slimcls.data import catalog, tables
from slimcls.errors import UserError
found = {}
for name in sys.argv[1:]:
    try:
        loaded = tables.read_tables(catalog.find_dataset(name))
        found[name] = [loaded.fingerprint, loaded.test.texts[:2], loaded.test.labels[:4]]
    except UserError as error:
        found[name] = str(error)
print(json.dumps(found))
"""


def _write(path, columns, names=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.table(columns)
    if names:
        feature = {"label": {"names": names, "_type": "ClassLabel"}}
        for column in set(columns) - {"label"}:
            feature[column] = {"dtype": "string", "_type": "Value"}
        described = {"info": {"features": feature}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(described)})
    pyarrow.parquet.write_table(table, path)


def _fill(hub):
    """Made-up rows in the layout of the real datasets."""
    for split, count in (("train", 24), ("validation", 8), ("test", 12)):
        texts = [f"{split} {n} " for n in range(count)]
        halves = [n % 2 for n in range(count)]
        sst2 = hub / "stanfordnlp/sst2/main/data" / f"{split}-00000-of-00001.parquet"
        _write(sst2, {"idx": [str(n) for n in range(count)], "sentence": texts, "label": halves})
        fours = [n % 4 for n in range(count)]
        agnews = hub / "fancyzhx/ag_news/main/data" / f"{split}-00000-of-00001.parquet"
        names = ["Sports", "World", "Business", "Sci/Tech"]
        _write(agnews, {"text": texts, "label": fours}, names)
        converted = hub / "SemEvalWorkshop/emo/refs/convert/parquet/emo2019" / split
        _write(converted / "0000.parquet", {"text": texts, "label": fours})
        converted = hub / "CogComp/trec/refs/convert/parquet/default" / split
        sixes = [n % 6 for n in range(count)]
        _write(converted / "0000.parquet", {"text": texts, "coarse_label": sixes})
        _write(hub / "Some/closed/main/data" / f"{split}.parquet", {"text": texts, "label": fours})
    script = hub / "Some/script/main/script.py"
    script.parent.mkdir(parents=True)
    script.write_text("raise SystemExit('code from the hub ran')")
    (hub / "Some/closed/main/.gated").write_text("")
    for split in ("train", "test"):
        rows = [{"text": f"{split} {n}", "label": "ab"[n % 2]} for n in range(30)]
        file = hub / "Some/topics/main" / f"{split}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(map(json.dumps, rows)))


def _load(folder, url, *names):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "SLIMCLS_"))}
    more = {"HF_ENDPOINT": url, "HF_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)}
    more |= {"SLIMCLS_CACHE": str(folder / "cache"), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, *names],
        capture_output=True,
        text=True,
        env=kept | more,
        cwd=folder,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What each dataset gives with the hub there, and afterwards without it."""
    folder = tmp_path_factory.mktemp("hub")
    _fill(folder / "hub" / "datasets")
    for name, lines in OWN.items():
        text = "text" if name != "columns" else "body"
        description = f"{lines}\ntext_column: {text}\nlabel_column: label\n"
        if name in ("revision", "split"):
            description = description.replace("text_column: text", "text_column: sentence")
        (folder / f"{name}.yaml").write_text(description)
    names = [*PACKAGED, *(f"{name}.yaml" for name in OWN)]
    with serve_hub(folder / "hub") as hub:
        online, _ = _load(folder, hub.url, *names)
    offline, said = _load(folder, hub.url, *names)
    return online, offline, said


def test_packaged_datasets_come_from_the_hub(answers):
    online, _, _ = answers
    assert online["sst2"][1:] == [["validation 0", "validation 1"], [0, 1, 0, 1]]
    assert online["trec"][1:] == [["test 0", "test 1"], [0, 1, 2, 3]]
    assert online["emoc"][1:] == [["test 0", "test 1"], [0, 1, 2, 3]]


def test_class_numbers_follow_the_hubs_names(answers):
    online, _, _ = answers
    assert online["agnews"][2] == [1, 0, 2, 3]


def test_an_own_description_of_a_hub_dataset(answers):
    online, _, _ = answers
    assert online["topics.yaml"][0].startswith("sha256:")


def test_what_was_read_once_needs_no_network(answers):
    online, offline, said = answers
    for name in (*PACKAGED, "topics.yaml"):
        assert offline[name] == online[name]
    assert said == ""


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("script", "Some/script: cannot be read: it is a script, which is never run; try revision"),
        ("closed", "Some/closed: its authors give access by request; accept their terms"),
        ("absent", "Some/absent: no such dataset or revision on the hub"),
        ("revision", "stanfordnlp/sst2 at v9: no such dataset or revision on the hub"),
        ("split", "unknown split of hub dataset stanfordnlp/sst2 'held-out' (known: test, train,"),
        (
            "columns",
            "unknown text column in hub dataset stanfordnlp/sst2 train 'body' (known:",
        ),
    ],
)
def test_faults_are_one_line(answers, name, problem):
    online, _, _ = answers
    assert problem in online[f"{name}.yaml"]
    assert "\n" not in online[f"{name}.yaml"]


def test_no_network_is_one_line(answers):
    _, offline, _ = answers
    for name in ("absent", "closed", "revision"):
        assert (
            "does not answer and there is no copy of it on this machine" in offline[f"{name}.yaml"]
        )
        assert "--data-dir DIR" in offline[f"{name}.yaml"]
        assert "\n" not in offline[f"{name}.yaml"]
