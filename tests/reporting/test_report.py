"""Reports: every figure from the files, verdicts that follow, the same bytes each time."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from reporting.made_study import ITEMS, add_cheap, add_run, make_study

from slimcls import runs
from slimcls.errors import UserError
from slimcls.report import ReportConfig, main, report
from slimcls.reporting import evidence, pages, prose, study, tables
from slimcls.runs import choices
from slimcls.runs.choices import Candidate, Choice


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(tmp_path_factory.mktemp("made") / "runs")


@pytest.fixture(scope="module")
def read(made: Path) -> study.Study:
    return study.read_study(made)


def test_verdicts_are_those_the_data_were_made_for(read: study.Study) -> None:
    found = read.compared.differences.set_index(["line", "keep"]).verdict
    assert found.to_dict() == {
        ("cls", 1): "good enough",
        ("cls", 3): "good enough",
        ("p-cls", 1): "worse",
        ("p-cls", 3): "good enough",
    }
    lost = read.compared.differences.set_index(["line", "keep"]).difference
    assert lost["p-cls", 1] == pytest.approx(-0.1, abs=1e-9)
    smallest = tables.enough(read.compared).set_index("mode")
    assert smallest.kept.to_dict() == {"cls": "1", "p-cls": "3"}
    assert set(smallest.verdict) == {"good enough"}


def test_each_line_has_its_estimate_before_its_verdict(read: study.Study) -> None:
    for table in (tables.enough(read.compared), tables.difference_table(read.compared)):
        names = list(table.columns)
        assert names.index("difference (points)") < names.index("verdict")
    page = tables.markdown_table(tables.difference_table(read.compared))
    assert re.search(r"\| p-cls \| 1 \| 0 \| -10\.0 \(-1.* to -.*\) \| 0, 1, 2 \| worse \|", page)


def test_beside_cannot_tell_stands_what_the_design_could_have_shown(tmp_path: Path) -> None:
    """Seeds that swing by five points show nothing: neither a loss nor that there is none."""
    for seed, lost in ((0, 0.0), (1, 0.1), (2, 0.05)):
        add_run(tmp_path, right=0.9, keep=6, seed=seed)
        add_run(tmp_path, right=0.9 - lost, keep=2, seed=seed)
        add_cheap(tmp_path, seed)
    row = study.read_study(tmp_path).compared.differences.iloc[0]
    assert row.verdict == "cannot tell"
    said = f"show with 80 % power: {100 * row.smallest_detectable:.1f} points; more seeds would"
    assert said in row.reason
    assert 0.1 < row.smallest_detectable < 0.3
    shown = tables.enough(study.read_study(tmp_path).compared).iloc[0]
    assert shown.verdict == "none good enough; the deepest cut: cannot tell"
    assert (shown.kept, shown["difference (points)"][:5]) == ("2", "-5.0 ")


def test_the_setting_is_chosen_on_validation_data(read: study.Study) -> None:
    """The other learning rate has the better test figure; it must not be seen."""
    assert set(read.found.runs.lr) == {1e-3}
    assert set(read.found.choices.lr) == {1e-3}
    assert set(read.found.choices["at the edge"]) == {"lr"}
    assert len(read.found.choices) == 6
    assert read.compared.cells.accuracy.max() < 0.92


def tried(folder: Path, score: float | None, **settings: Any) -> Candidate:
    return Candidate(folder.name, settings, score)


def test_the_report_takes_what_the_grid_chose(tmp_path: Path) -> None:
    """Of equal candidates the grid took the first, and ran that alone with the other seeds."""
    short, long = {"epochs": 2, "lr": 1e-3}, {"epochs": 9, "lr": 1e-4}
    made = []
    for keep in (6, 2):
        first, second = (
            add_run(tmp_path, right=0.8, keep=keep, seed=0, validation=0.7, **settings)
            for settings in (short, long)
        )
        add_run(tmp_path, right=0.8, keep=keep, seed=1, **long)
        both = (tried(first, 0.7, **short), tried(second, 0.7, **long), Candidate("x", short, None))
        made.append(Choice(second.name, long, "validation_macro_f1", ("epochs",), both))
    hand = add_run(tmp_path, right=0.9, keep=2, seed=0, epochs=5, lr=1e-3, validation=0.9)
    choices.write_choices(tmp_path, "g", made)
    choices.write_choices(
        tmp_path, "before", [replace(one, candidates=one.candidates[:2]) for one in made]
    )
    found = study.read_study(tmp_path).found
    assert len(found.choices) == 2
    assert set(found.runs.epochs) == {9}
    assert len(found.runs) == 4
    row = found.choices.set_index("keep").loc[2]
    assert row["epochs tried"] == "2, 9"
    assert row["by"] == "validation macro f1"
    assert row["at the edge"] == "epochs"
    assert row["settings"] == 3
    assert row["compared on seeds"] == "0"
    assert found.left_out == (f"{hand.name}: left out, the grid chose epochs 9, lr 0.0001",)


def test_any_setting_that_a_grid_searched_makes_no_other_line(tmp_path: Path) -> None:
    """Full depth and the cut may have chosen different ranks; their difference is the cut's."""
    made = []
    for keep, best in ((6, 4), (2, 8)):
        ranks = {
            rank: add_run(tmp_path, right=0.8, keep=keep, seed=0, tune="lora", lora_rank=rank)
            for rank in (4, 8)
        }
        both = tuple(tried(folder, 0.5, lora_rank=rank) for rank, folder in ranks.items())
        chosen = {"lora_rank": best}
        made.append(Choice(ranks[best].name, chosen, "validation_accuracy", (), both))
    choices.write_choices(tmp_path, "g", made)
    read = study.read_study(tmp_path)
    assert read.found.runs.lora_rank.tolist() == [8, 4]
    assert read.compared.differences.line.tolist() == ["p-cls"]
    assert read.found.choices.lora_rank.tolist() == [8, 4]


def test_items_of_an_earlier_draw_are_no_cell_of_todays(tmp_path: Path):
    for seed in (0, 1):
        add_run(tmp_path, right=0.8, keep=6, seed=seed, split="paper")
    frame = runs.load(tmp_path)
    frame["draw_version"] = [1, 2]
    found = evidence.gather(frame)
    assert sorted(found.runs.family) == ["p-cls, draw version 1", "p-cls, draw version 2"]


def test_a_choice_of_runs_that_are_gone_decides_nothing(tmp_path: Path) -> None:
    made = Choice("gone", {"lr": 1e-4}, "validation_accuracy", (), (Candidate("gone", {}, 0.9),))
    choices.write_choices(tmp_path / "part", "g", [made])
    for lr, validation in ((1e-3, 0.6), (1e-4, 0.5)):
        add_run(tmp_path / "part", right=0.8, keep=6, seed=0, lr=lr, validation=validation)
    assert study.read_study(tmp_path).found.runs.lr.tolist() == [1e-3]
    (tmp_path / "part" / "choices" / "g.json").write_text("[{}]")
    with pytest.raises(UserError, match=r"g\.json: cannot be read"):
        study.read_study(tmp_path)


def test_means_and_deviations_are_those_of_the_files(read: study.Study, made: Path) -> None:
    cell = read.compared.cells.query("line == 'p-cls' and keep == 1").iloc[0]
    assert cell.accuracy == pytest.approx(0.805)
    assert cell.sd == pytest.approx(0.005)
    assert cell.low < 0.805 < cell.high
    paper = tables.as_paper(read.compared.cells).set_index("mode")
    assert paper.loc["p-cls", 1] == "0.805 ± 0.005"
    assert read.compared.baselines.accuracy.tolist() == pytest.approx([0.55, 0.5, 0.6])


def test_confusion_counts_every_item_of_every_seed(read: study.Study) -> None:
    labels = study.classes(read, "sst2")
    assert labels == ["neg", "pos"]
    counts = study.confusion_counts(read, "sst2", "p-cls", 1, labels)
    assert counts.sum() == 3 * ITEMS
    assert counts.trace() == round(0.805 * 3 * ITEMS)


@pytest.mark.usefixtures("undrawn")
def test_tasks_with_names_alike_have_a_picture_each(tmp_path: Path) -> None:
    for name in ("a b", "a-b"):
        for keep in (6, 2):
            add_run(tmp_path / "r", right=0.8, keep=keep, seed=0, dataset=f"{name}.csv", data=name)
    page = report(ReportConfig(folder=str(tmp_path / "r"), out=str(tmp_path / "out")))
    assert len(set(re.findall(r"figures/confusion-[^)]+", page.read_text()))) == 2


def test_every_confusion_matrix_has_every_class_of_its_task(tmp_path: Path) -> None:
    """A class that one cell alone was asked for, as with two sets of test items."""
    deep = add_run(tmp_path, right=0.8, keep=6, seed=0)
    add_run(tmp_path, right=0.7, keep=2, seed=0)
    rows = pd.read_parquet(deep / runs.PREDICTIONS)
    rows.loc[0, "label"] = "at odds"
    rows.to_parquet(deep / runs.PREDICTIONS)
    ((task, figure),) = pages.confusions(study.read_study(tmp_path))
    assert task == "sst2"
    for axes in figure.axes:
        assert [label.get_text() for label in axes.get_xticklabels()] == ["at odds", "neg", "pos"]
        assert axes.images[0].get_array().shape == (3, 3)


def test_the_same_files_give_the_same_bytes(made: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        report(ReportConfig(folder=str(made), out=str(tmp_path / name)))
    written = [
        {
            path.relative_to(tmp_path / name): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((tmp_path / name).rglob("*"))
            if path.is_file()
        }
        for name in ("one", "two")
    ]
    assert written[0] == written[1]
    names = {str(name) for name in written[0]}
    assert {"report.md", "report.html", "tables/differences.csv", "figures/layers.svg"} <= names


def test_pages_hold_tables_and_pictures_by_themselves(made: Path, tmp_path: Path) -> None:
    page = report(ReportConfig(folder=str(made), out=str(tmp_path / "r"), title="My <study>"))
    text = page.read_text()
    assert text.startswith("# My \\<study\\>\n")
    assert "| sst2 | p-cls | 0.905 (6 layers) | 3 |" in text
    for picture in re.findall(r"\]\((figures/[^)]+)\)", text):
        assert (page.parent / picture).stat().st_size > 5_000
        ElementTree.parse((page.parent / picture).with_suffix(".svg"))
    content = (page.parent / "report.html").read_text()
    assert "<title>My &lt;study&gt;</title>" in content
    assert 'src="figures' not in content
    assert content.count('src="data:image/svg+xml;base64,') == text.count("](figures/")
    table = pd.read_csv(page.parent / "tables" / "accuracy.csv")
    assert len(table) == 6


def relabel(folder: Path, *labels: str) -> None:
    """Give the two classes of a run's test items other names."""
    path = folder / runs.PREDICTIONS
    rows = pd.read_parquet(path)
    names = dict(zip(("neg", "pos"), labels, strict=True))
    rows.assign(label=rows.label.map(names), prediction=rows.prediction.map(names)).to_parquet(path)


@pytest.mark.parametrize("labels", [("$10_to_$20", "under $10_$"), ("_a_$", "$\\frac{$")])
def test_dollars_in_labels_and_names_are_drawn_as_they_are(
    labels: tuple[str, str], tmp_path: Path
) -> None:
    """Between two dollars matplotlib reads mathematics, and stops at what is none."""
    for keep in (6, 2):
        made = add_run(tmp_path / "runs", right=0.8, keep=keep, seed=0, dataset="x/a$\\x$.csv")
        relabel(made, *labels)
    report(ReportConfig(folder=str(tmp_path / "runs"), out=str(tmp_path / "r")))
    ((task, figure),) = pages.confusions(study.read_study(tmp_path / "runs"))
    assert task == "a$\\x$"
    shown = [label.get_text().replace("\\$", "$") for label in figure.axes[0].get_xticklabels()]
    assert shown == sorted(labels)


HOSTILE = (
    "![x](http://evil.example/y.png)",
    "![x](figures/nope.png)",
    "![x](figures/../../secret.svg)",
    "[a](javascript:alert(1)) <script>alert(1)</script>",
    "a | b\n\n# heading\n![x](http://evil.example/z.png)",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_outside_text_is_no_mark_up(text: str, tmp_path: Path) -> None:
    """A note's picture made the page call another machine, or took in a file from elsewhere."""
    (tmp_path / "secret.svg").write_text("<svg>secret</svg>")
    for keep in (6, 2):
        add_run(tmp_path / "runs", right=0.8, keep=keep, seed=0, note=text)
    (tmp_path / "runs" / f"{text[:9]}x").mkdir()
    (tmp_path / "runs" / f"{text[:9]}x" / "result.parquet").write_bytes(b"no parquet")
    page = report(ReportConfig(folder=str(tmp_path / "runs"), out=str(tmp_path / "r"), title=text))
    content = (page.parent / "report.html").read_text()
    pictures = re.findall(r'<img src="([^"]*)"', content)
    assert all(one.startswith("data:image/svg+xml;base64,") for one in pictures)
    assert len(pictures) == page.read_text().count("](figures/layers") + 3
    assert "<script" not in content
    assert "<a " not in content
    assert content.count("<h1>") == 1
    plain = html.unescape(re.sub("<[^>]+>", "", content))
    assert f"sst2: {' '.join(text.split())}" in plain
    assert "secret</svg>" not in base64_free(content)


def base64_free(content: str) -> str:
    """The page with its pictures' bytes as text."""
    found = re.findall(r"base64,([A-Za-z0-9+/=]+)", content)
    return content + "".join(base64.b64decode(one).decode() for one in found)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", ["=1+cmd", "+a", "-2-a", "@SUM(A1)"])
def test_no_cell_of_the_tables_is_a_formula(name: str, tmp_path: Path) -> None:
    for keep in (6, 2):
        add_run(tmp_path / "runs", right=0.8, keep=keep, seed=0, dataset=f"x/{name}.csv")
    page = report(ReportConfig(folder=str(tmp_path / "runs"), out=str(tmp_path / "r")))
    for table in ("accuracy", "differences", "paper"):
        frame = pd.read_csv(page.parent / "tables" / f"{table}.csv")
        assert set(frame.task) == {f"'{name}"}
    assert pd.read_csv(page.parent / "tables" / "differences.csv").difference.tolist() == [0]


@pytest.mark.usefixtures("undrawn")
def test_a_folder_s_name_is_no_pattern(tmp_path: Path) -> None:
    for folder, right in (("study1", 0.6), ("study[1]", 0.8)):
        for keep in (6, 2):
            add_run(tmp_path / folder, right=right, keep=keep, seed=0)
    page = report(ReportConfig(folder=str(tmp_path / "study[1]"), out=str(tmp_path / "r")))
    assert page.read_text().startswith("# study\\[1\\]\n")
    accuracy = pd.read_csv(page.parent / "tables" / "accuracy.csv").accuracy
    assert accuracy.tolist() == pytest.approx([0.8, 0.8])


def test_no_reference_no_verdict(tmp_path: Path) -> None:
    for seed in (0, 1):
        for keep in (6, 1):
            add_run(tmp_path, right=0.8, keep=keep, seed=seed)
    add_run(tmp_path, right=0.8, keep=6, seed=0, dataset="trec")
    add_run(tmp_path, right=0.8, keep=2, seed=0, dataset="agnews")
    found = study.read_study(tmp_path)
    assert set(found.compared.differences.verdict) == {"no reference"}
    assert "agnews, p-cls: no run at full depth (6 layers)" in found.compared.missing


@pytest.mark.usefixtures("undrawn")
def test_a_cell_has_one_run_a_seed_and_says_which_it_left_out(tmp_path: Path) -> None:
    for seed in (0, 1):
        for keep in (6, 1):
            add_run(tmp_path, right=0.8, keep=keep, seed=seed)
        add_run(tmp_path, right=0.8, keep=6, seed=seed, method="tfidf")
    twins = [
        [add_run(tmp_path, right=0.8, keep=1, seed=0, save_model="none"), "p-cls-made-k1-s0"],
        [add_run(tmp_path, right=0.8, keep=6, seed=1, select="even"), "p-cls-made-k6-s1"],
        [
            add_run(tmp_path, right=0.8, keep=1, seed=1, method="tfidf", eval_batch_size=8),
            "tfidf-made-s1",
        ],
    ]
    for name in ("one", "two"):
        text = report(ReportConfig(folder=str(tmp_path), out=str(tmp_path / name))).read_text()
        left_out = re.findall(r"(\S+): left out, its cell has another run of its seed", text)
        assert len(left_out) == 3
        for (twin, like), gone in zip(twins, left_out, strict=True):
            pair = sorted(path.name for path in tmp_path.glob(f"sst2-{like}-*"))
            assert twin.name in pair
            assert pair.index(gone) == 1, "the first by name stays"


def test_what_shares_a_name_alone_is_told_apart(tmp_path: Path) -> None:
    """A data file that was edited, and two models in folders of one name."""
    for data, right in (("sha256:1234567890", 0.8), ("sha256:abcdefghij", 0.7)):
        for keep in (6, 1):
            add_run(tmp_path, right=right, keep=keep, seed=0, data=data, dataset="x/my.csv")
    for source in ("1" * 40, "2" * 40):
        for keep in (6, 1):
            add_run(tmp_path, right=0.9, keep=keep, seed=0, source=source)
    compared = study.read_study(tmp_path).compared
    tasks = set(zip(compared.differences.task, compared.differences.line, strict=True))
    assert tasks == {
        ("my (1234567)", "p-cls, made (a)"),
        ("my (abcdefg)", "p-cls, made (a)"),
        ("sst2", "p-cls, made (1111111)"),
        ("sst2", "p-cls, made (2222222)"),
    }
    assert len(compared.cells) == 8


@pytest.mark.usefixtures("undrawn")
def test_an_interval_of_few_seeds_says_what_it_does_not_hold(made: Path, tmp_path: Path) -> None:
    for keep in (6, 2):
        add_run(tmp_path / "runs", right=0.8, keep=keep, seed=0)
    for seed in (0, 1):
        add_run(tmp_path / "runs", right=0.6, keep=6, seed=seed, method="tfidf")
    text = report(ReportConfig(folder=str(tmp_path / "runs"), out=str(tmp_path / "r"))).read_text()
    assert "one seed: the interval is over test items and says nothing about other seeds;" in text
    assert "two seeds: the interval is too narrow where seeds differ. The verdict" in text
    assert "| 0 * | no reference |" in text
    assert "| 0, 1 * |" in text
    text = report(ReportConfig(folder=str(made), out=str(tmp_path / "m"))).read_text()
    assert "between test items. The verdict" in text
    assert " * |" not in text


def test_missing_seeds_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    for seed, keep in [(0, 6), (1, 6), (0, 1)]:
        add_run(tmp_path, right=0.8, keep=keep, seed=seed)
    found = study.read_study(tmp_path)
    assert found.compared.missing == (
        "sst2, p-cls, keep 1 (0): no run with seed 1",
        "sst2, p-cls, keep 1 (0): seeds left out, one side alone has them: 1",
        "sst2: baselines not measured on these items: majority, tfidf, embeddings (seed 0, 1)",
    )
    assert found.compared.differences.seeds.tolist() == ["0"]


def test_runs_on_other_items_are_not_compared(tmp_path: Path) -> None:
    add_run(tmp_path, right=0.8, keep=6, seed=0)
    other = add_run(tmp_path, right=0.8, keep=1, seed=0)
    rows = pd.read_parquet(other / runs.PREDICTIONS)
    rows["id"] += 1
    rows.to_parquet(other / runs.PREDICTIONS)
    found = study.read_study(tmp_path)
    assert found.compared.differences.empty
    assert any("not tested on the same items" in line for line in found.compared.missing)


def test_broken_and_foreign_files_are_named(tmp_path: Path) -> None:
    make_study(tmp_path)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "result.parquet").write_bytes(b"no parquet")
    found = study.read_study(tmp_path)
    assert len(found.unread) == 1
    assert "odd" in found.unread[0]


@pytest.mark.usefixtures("undrawn")
def test_a_run_without_predictions_is_in_no_figure(tmp_path: Path) -> None:
    """Accuracy and interval are of the same seeds."""
    out = tmp_path / "runs"
    for seed in (0, 1, 2):
        for keep in (6, 1):
            add_run(out, right=0.8 + 0.05 * seed, keep=keep, seed=seed)
        add_run(out, right=0.6, keep=6, seed=seed, method="tfidf")
    lost = [*out.glob("*-k1-s2-*"), *out.glob("*tfidf*-s1-*")]
    for folder in lost:
        (folder / runs.PREDICTIONS).unlink()
    text = report(ReportConfig(folder=str(out), out=str(tmp_path / "r"))).read_text()
    found = study.read_study(out)
    assert len(found.unread) == len(lost) == 2
    for folder in lost:
        assert any(str(folder) in line for line in found.unread)
        assert str(folder) in text
    assert "sst2, p-cls, keep 1 (0): no run with seed 2" in found.compared.missing
    cells = found.compared.cells.set_index("keep")
    assert cells.accuracy[1] == pytest.approx(0.825)
    assert cells.seeds[1] == 2
    assert found.compared.baselines.seeds.tolist() == ["0, 2"]


def test_a_run_tested_on_one_item_has_no_interval(tmp_path: Path) -> None:
    for keep in (6, 1):
        folder = add_run(tmp_path, right=0.8, keep=keep, seed=0)
    path = folder / runs.PREDICTIONS
    pd.read_parquet(path).iloc[:1].to_parquet(path, index=False)
    found = study.read_study(tmp_path)
    assert found.unread == (f"{folder.name}: a single test item has no interval; left out",)
    assert found.compared.cells.keep.tolist() == [6]


@pytest.mark.parametrize(("layers", "said"), [(2, True), (3, False), (None, False)])
def test_a_cut_has_to_beat_a_probe_that_reads_no_more_layers(
    layers: int | None, said: bool, tmp_path: Path
) -> None:
    """One that reads more stands in the table alone; so does one of prompts beside texts."""
    for seed in (0, 1, 2):
        add_cheap(tmp_path, seed, mode="cls")
        for keep in (6, 2):
            add_run(tmp_path, right=0.9, keep=keep, seed=seed, mode="cls")
        probe = {"keep": 1, "seed": seed, "method": "probe"}
        if layers:
            add_run(tmp_path, right=0.9, mode="cls", read_layers=layers, **probe)
        add_run(tmp_path, right=0.9, mode="p-cls", read_layers=1, **probe)
    compared = study.read_study(tmp_path).compared
    (verdict,) = compared.differences.verdict
    assert verdict == ("not shown to beat a probe of the frozen model" if said else "good enough")
    levels = compared.baselines[compared.baselines.baseline == "probe"]
    assert levels["mode"].tolist() == (["cls"] if layers else []) + ["p-cls"]


def test_a_probe_of_one_seed_holds_no_verdict_up(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        add_cheap(tmp_path, seed, mode="cls")
        for keep in (6, 2):
            add_run(tmp_path, right=0.9, keep=keep, seed=seed, mode="cls")
    add_run(tmp_path, right=0.9, keep=1, seed=0, method="probe", mode="cls", read_layers=1)
    compared = study.read_study(tmp_path).compared
    assert compared.differences.verdict.tolist() == ["good enough"]


def test_baselines_of_other_models_and_items_are_rows_of_their_own(tmp_path: Path) -> None:
    """Each model is held against its own embeddings, on its own items."""
    for seed in (0, 1, 2):
        for model, right in (("poor", 0.5), ("rich", 0.85)):
            for keep in (6, 2):
                add_run(tmp_path, right=0.8, keep=keep, seed=seed, model=model, source=model)
            more = {"keep": 6, "seed": seed, "model": model, "source": model}
            add_run(tmp_path, right=right, method="embeddings", **more)
            add_run(tmp_path, right=right, method="random-blocks", **more)
            add_run(tmp_path, right=0.1, method="embeddings", shots=5, **more)
        for method in ("majority", "tfidf"):
            add_run(tmp_path, right=0.6, keep=6, seed=seed, method=method, model="")
    compared = study.read_study(tmp_path).compared
    levels = compared.baselines.set_index(["baseline", "mode"])
    assert levels.accuracy.to_dict() == pytest.approx(
        {
            ("embeddings", "poor, shots 5"): 0.1,
            ("embeddings", "rich, shots 5"): 0.1,
            ("embeddings", "poor, shots 200"): 0.5,
            ("embeddings", "rich, shots 200"): 0.85,
            ("random-blocks", "p-cls, poor, shots 200"): 0.5,
            ("random-blocks", "p-cls, rich, shots 200"): 0.85,
            ("majority", "shots 200"): 0.6,
            ("tfidf", "shots 200"): 0.6,
        }
    )
    assert ((levels.low < levels.accuracy) & (levels.accuracy < levels.high)).all()
    reasons = compared.differences.set_index("line").reason
    assert reasons["p-cls, poor, shots 200"].startswith("a loss of 2 points is ruled out")
    assert (
        "full depth against the mean of the embeddings: -5.0" in reasons["p-cls, rich, shots 200"]
    )
    assert compared.missing == ()


def test_a_rival_reads_as_much_of_a_text_as_what_it_is_held_against(tmp_path: Path) -> None:
    """A strong rival that reads more is that of the cuts that read as much, and of no others."""
    for tokens, rival in ((64, 0.5), (128, 0.95)):
        for seed in (0, 1, 2):
            for keep in (6, 2):
                add_run(
                    tmp_path, right=0.9, keep=keep, seed=seed, mode="cls", max_text_tokens=tokens
                )
            add_run(
                tmp_path, right=rival, keep=0, seed=seed, method="embeddings", mode="cls",
                max_text_tokens=tokens,
            )  # fmt: skip
    for seed in (0, 1, 2):
        for method in ("majority", "tfidf"):
            add_run(tmp_path, right=0.5, keep=0, seed=seed, method=method, mode="cls", model="")
    found = study.read_study(tmp_path)
    verdicts = found.compared.differences.set_index("line").verdict
    assert verdicts["cls, max text tokens 64"] == "good enough"
    assert verdicts["cls, max text tokens 128"] == "no reference"
    rivals = found.compared.baselines.query("baseline == 'embeddings'")
    assert rivals.seeds.tolist() == 2 * ["0, 1, 2"]
    assert rivals["mode"].tolist() == ["max text tokens 128", "max text tokens 64"]
    told = prose.answers(found)
    assert [re.findall("embeddings 0.[0-9]+", one) for one in told] == [
        ["embeddings 0.950"],
        ["embeddings 0.500"],
    ]


def test_untrained_cuts_of_two_rules_are_rows_of_their_own(tmp_path: Path) -> None:
    """One layer is the same one by both rules: the rivals beside them share name and layers."""
    for rule in ("first", "even"):
        for seed in (0, 1):
            for method in ("fine-tuned", "random-blocks"):
                add_run(
                    tmp_path, right=0.7, keep=1, seed=seed, select=rule, method=method, mode="cls",
                    random_blocks=method == "random-blocks",
                )  # fmt: skip
    rows = study.read_study(tmp_path).compared.baselines
    assert rows["mode"].tolist() == ["cls, even", "cls"]
    assert rows.seeds.tolist() == ["0, 1", "0, 1"]


def test_of_a_line_without_cuts_nothing_is_missed(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        add_run(tmp_path, right=0.9, keep=6, seed=seed, mode="cls")
        add_run(tmp_path, right=0.8, keep=2, seed=seed, mode="cls", teacher="x", taught="taught")
    page = report(ReportConfig(folder=str(tmp_path), out=str(tmp_path / "r")))
    text = page.read_text("utf-8")
    assert "All 6 layers are right on" in text
    assert "No cut has a run at full depth" not in text


def test_one_baseline_with_one_seed_is_no_reference(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        for keep in (6, 2):
            add_run(tmp_path, right=0.9, keep=keep, seed=seed)
        add_run(tmp_path, right=0.5, keep=6, seed=seed, method="majority")
    add_run(tmp_path, right=0.6, keep=6, seed=0, method="tfidf")
    compared = study.read_study(tmp_path).compared
    assert compared.differences.verdict.tolist() == ["no reference"]
    assert compared.missing == (
        "sst2: baselines not measured on these items: tfidf (seed 1, 2); embeddings (seed 0, 1, 2)",
    )


def test_without_any_predictions_there_is_nothing_to_report(tmp_path: Path) -> None:
    (add_run(tmp_path, right=0.8, keep=6, seed=0) / runs.PREDICTIONS).write_bytes(b"broken")
    with pytest.raises(UserError, match="no fine-tuned run here has predictions of two items"):
        study.read_study(tmp_path)


def test_rules_that_keep_other_layers_for_each_seed_are_one_cell(tmp_path: Path) -> None:
    for seed in (0, 1):
        add_run(tmp_path, right=0.9, keep=6, seed=seed)
        add_run(tmp_path, right=0.8, keep=2, seed=seed)
        more = {"select": "random", "keep": 2}
        if seed == 0:
            add_run(tmp_path, right=0.7, seed=seed, layers=None, **more)
    found = evidence.gather(runs.load(tmp_path))
    assert set(found.runs.line) == {"p-cls, first", "p-cls, random"}


@pytest.mark.usefixtures("undrawn")
def test_a_report_says_nothing_of_what_it_does_not_have(tmp_path: Path) -> None:
    """Tasks at different depths have no mean over tasks, and nothing to correct over."""
    add_run(tmp_path / "runs", right=0.8, keep=6, seed=0)
    for lr, validation in [(3e-5, 0.5), (1e-3, 0.9), (1e-4, 0.6)]:
        more = {"lr": lr, "validation": validation, "dataset": "trec"}
        add_run(tmp_path / "runs", right=0.8, keep=2, seed=0, **more)
    text = report(ReportConfig(folder=str(tmp_path / "runs"), out=str(tmp_path / "r"))).read_text()
    assert "mean of 2 tasks" not in text
    assert "corrected over" not in text
    assert "| 3e-05, 0.0001, 0.001 |" in text, "by size"
    assert "| task | mode | kept | layers | lr |" in text
    assert "> computed on cpu, threads: 1\n" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["."], "holds no finished run"),
        ([".", "--margin", "0"], "--margin 0: percentage points"),
        ([".", "--margn", "1"], "did you mean --margin"),
    ],
)
def test_what_the_user_got_wrong_is_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=re.escape(message)):
        main(words)
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_where_the_page_is(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(made), "--out", str(tmp_path / "r")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "r" / "report.md")
