"""What a file of unlabelled texts has in common with the parts of the data."""

from __future__ import annotations

from pathlib import Path

from slimcls.data import texts
from slimcls.data.tables import Tables
from slimcls.data.unlabelled import REST, check_unlabelled, unlabelled_texts
from slimcls.search.answer import Finding
from slimcls.search.items import counted


def unlabelled_file(name: str, column: str | None, tables: Tables) -> list[Finding]:
    """Texts of ``--unlabelled`` that are test texts, or any of the dataset's.

    Raises UserError where the file cannot be read.
    """
    check_unlabelled(name)
    if name == REST:
        return []
    found, bad = unlabelled_texts(Path(name), column, tables.spec.pair)
    given = {texts.key(text) for text in found}
    test = {texts.key(text) for text in tables.test.texts}
    others = {texts.key(text) for text in tables.train.texts}
    others |= {texts.key(text) for text in (tables.validation.texts if tables.validation else ())}
    in_test, elsewhere = len(given & test), len(given & (others - test))
    shown = Path(name).name
    findings = []
    if bad:
        findings.append(
            Finding(
                kind="unlabelled rows without text",
                sentence=f"{shown} has {counted(len(bad), 'row')} without a text, such as "
                f"{bad[0].place}: {bad[0].fault}",
                count=len(bad),
                done="left out",
            )
        )
    if in_test:
        whole = "is the test part" if given == test else f"holds {counted(in_test, 'test text')}"
        findings.append(
            Finding(
                kind="unlabelled test texts",
                sentence=f"{shown} {whole}: a teacher's scores for them would tell the answers",
                count=in_test,
                done="nothing is learnt from them",
            )
        )
    if elsewhere:
        findings.append(
            Finding(
                kind="unlabelled repeats",
                sentence=f"{shown} holds {counted(elsewhere, 'text')} of the labelled data too",
                count=elsewhere,
                done="passed over where they are items already",
            )
        )
    return findings
