import re
import subprocess
import sys
from pathlib import Path

import pytest

from slimcls.data import catalog
from slimcls.errors import UserError

ROOT = Path(__file__).parents[2]
GOEMO4 = ROOT / "configs" / "datasets" / "goemo4.yaml"

GOOD = """
name: mine
version: 2
text_column: body
label_column: kind
splits: {train: train, test: test}
labels: [bad, good]
template: "It says: {text}\\nIt is:{label}"
label_words: [Bad, Good]
"""


def test_packaged_datasets_have_the_protocols_templates_and_words():
    expected = {
        "sst2": ("Review: {text}\nSentiment:{label}", "Negative Positive"),
        "agnews": ("Article: {text}\nAnswer:{label}", "World Sports Business Technology"),
        "trec": (
            "Question: {text}\nAnswer Type:{label}",
            "Abbreviation Entity Description Person Location Number",
        ),
        "emoc": ("Dialogue: {text}\nEmotion:{label}", "Others Happy Sad Angry"),
    }
    for name, (template, words) in expected.items():
        spec = catalog.find_dataset(name)
        assert spec.template == template
        assert spec.label_words == tuple(words.split())
        assert len(spec.labels) == len(spec.label_words)
    assert catalog.packaged_names() == sorted([*expected, "bbcnews"])
    assert catalog.find_dataset("bbcnews").pool


def test_packaged_datasets_name_their_hub_ids():
    hub = {name: catalog.find_dataset(name).hub for name in catalog.packaged_names()}
    assert hub == {
        "sst2": "stanfordnlp/sst2",
        "trec": "CogComp/trec",
        "agnews": "fancyzhx/ag_news",
        "emoc": "SemEvalWorkshop/emo",
        "bbcnews": "SetFit/bbc-news",
    }
    for script in ("trec", "emoc"):
        assert catalog.find_dataset(script).hub_revision == "refs/convert/parquet"


def test_the_shipped_example_is_read():
    spec = catalog.find_dataset(str(GOEMO4))
    assert spec.name == "goemo4"
    assert set(spec.splits) == {"train", "validation", "test"}


def test_an_own_description(tmp_path):
    (tmp_path / "other.yaml").write_text(GOOD)
    spec = catalog.find_dataset(str(tmp_path / "other.yaml"), label_column="sort")
    assert (spec.name, spec.version, spec.text_column) == ("mine", 2, "body")
    assert spec.label_column == "sort"
    (tmp_path / "unnamed.yml").write_text(GOOD.replace("name: mine", ""))
    assert catalog.find_dataset(str(tmp_path / "unnamed.yml")).name == "unnamed"


def test_an_own_description_with_files_beside_it(tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("text,label\na,b\n")
    (tmp_path / "d.yaml").write_text("files: {train: a.csv, test: b.csv}")
    spec = catalog.find_dataset(str(tmp_path / "d.yaml"))
    assert spec.files == {"train": tmp_path / "a.csv", "test": tmp_path / "b.csv"}
    assert not spec.pool
    (tmp_path / "d.yaml").write_text("files: {train: a.csv}")
    assert catalog.find_dataset(str(tmp_path / "d.yaml")).pool


WRONG = [
    ("template: 'no slots'", "template: must hold {text} exactly once"),
    ("template: '{text} {text} {label}'", "template: must hold {text} exactly once"),
    ("template: 'only {text}'", "template: must hold {label} exactly once"),
    ("template: '{label} {text}'", "template: must have {text} before {label}"),
    ("label_words: [One, Two, Three]", "label_words: 3 words for 2 labels"),
    ("label_words: [One, One]", "label_words: names one twice"),
    ("labels: good", "labels: must be a list"),
    ("labels: [good]", "labels: must be a list of two"),
    ("labels: [yes, no]", "yes would be taken for true or false; quote it"),
    ("version: first", "version: must be a whole number"),
    ("version: true", "version: must be a whole number"),
    ("pool: 1", "pool: must be true or false"),
    ("text_column: 3", "text_column: must be a text"),
    ("splits: train", "splits: must map"),
    ("splits: {train: train, trial: test}", "splits: maps 'trial'"),
    ("splits: {train: train}", "splits: no test"),
    ("files: {train: none.csv}", "files: train: no such file"),
    ("files: {train: none.txt}", "files: train: none.txt is none of .csv"),
    ("labelwords: [A, B]", "'labelwords'; did you mean 'label_words'?"),
    ("revision: main", "revision, config: only with hub"),
]


@pytest.mark.parametrize(("line", "problem"), WRONG, ids=[row[0] for row in WRONG])
def test_faults_in_a_description_name_file_and_key(tmp_path, line, problem):
    key = line.partition(":")[0]
    kept = [row for row in GOOD.strip().splitlines() if not row.startswith(f"{key}:")]
    path = tmp_path / "d.yaml"
    path.write_text("\n".join([*kept, line]))
    with pytest.raises(UserError, match=re.escape(problem)) as error:
        catalog.find_dataset(str(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a: [1", "line 1: not YAML"),
        ("just words", "must be a mapping"),
        (b"name: caf\xe9", "not UTF-8"),
        ("name: x", "splits: missing"),
        ("splits: {train: train, test: test}", "text_column, label_column: both must be given"),
    ],
)
def test_faults_of_a_whole_description(tmp_path, content, problem):
    path = tmp_path / "d.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=re.escape(problem)):
        catalog.find_dataset(str(path))


@pytest.mark.parametrize(
    ("more", "problem"),
    [("hub: a/b", "files, hub: give one"), ("splits: {train: a, test: b}", "splits: only with")],
)
def test_files_contradict_other_sources(tmp_path, more, problem):
    (tmp_path / "a.csv").write_text("text,label\na,b\n")
    (tmp_path / "d.yaml").write_text(f"files: {{train: a.csv, test: a.csv}}\n{more}")
    with pytest.raises(UserError, match=problem):
        catalog.find_dataset(str(tmp_path / "d.yaml"))


def test_a_lone_file_is_pooled(tmp_path):
    path = tmp_path / "mail.csv"
    path.write_text("")
    spec = catalog.find_dataset(str(path), text_column="body")
    assert (spec.name, spec.pool, spec.text_column) == ("mail", True, "body")
    assert spec.files == {"all": path}


def test_a_folder(tmp_path):
    for name in ("train.csv", "dev.jsonl", "test.parquet", "notes.txt"):
        (tmp_path / name).write_text("")
    files = catalog.find_dataset(str(tmp_path)).files
    assert {part: path.name for part, path in files.items()} == {
        "train": "train.csv",
        "validation": "dev.jsonl",
        "test": "test.parquet",
    }
    (tmp_path / "test.parquet").unlink()
    with pytest.raises(UserError, match="has no test file"):
        catalog.find_dataset(str(tmp_path))
    (tmp_path / "dev.jsonl").unlink()
    assert catalog.find_dataset(str(tmp_path)).pool
    (tmp_path / "train.tsv").write_text("")
    with pytest.raises(UserError, match=r"several train files \(train.csv, train.tsv\)"):
        catalog.find_dataset(str(tmp_path))
    (tmp_path / "train.csv").unlink()
    (tmp_path / "train.tsv").unlink()
    with pytest.raises(UserError, match="has no train file"):
        catalog.find_dataset(str(tmp_path))


def test_what_is_no_dataset(tmp_path):
    with pytest.raises(UserError, match="unknown dataset 'agnew'; did you mean 'agnews'"):
        catalog.find_dataset("agnew")
    with pytest.raises(UserError, match="no such file"):
        catalog.find_dataset(str(tmp_path / "none.csv"))
    (tmp_path / "a.docx").write_text("")
    with pytest.raises(UserError, match="not a kind of file that is read"):
        catalog.find_dataset(str(tmp_path / "a.docx"))
    with pytest.raises(UserError, match="--text-column body: only for your own files"):
        catalog.find_dataset("trec", text_column="body")


def test_what_cannot_be_looked_at(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="is too long a name for a file"):
        catalog.find_dataset("x" * 5000)

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
        catalog.find_dataset(str(tmp_path))


def test_finding_imports_nothing_heavy():
    code = (
        "import sys; from slimcls.data import catalog; catalog.find_dataset('trec');"
        "print([m for m in ('torch', 'numpy', 'pyarrow', 'datasets', 'transformers', 'sklearn')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"
