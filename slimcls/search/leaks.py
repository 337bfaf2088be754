"""Labels that stand in the texts: a word, or the form of a number, that alone decides a class."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slimcls.data import texts
from slimcls.search.answer import Finding
from slimcls.search.items import Items, counted, quoted
from slimcls.search.make_up import script_of

#: A word decides a class where this share of its texts have it,
RECALL = 0.9
#: and of the texts that have it this share are of the class,
PRECISION = 0.95
#: and of all other texts this share at most have it, so that what every text has is none.
ELSEWHERE = 0.05
#: Texts of the class, with the word, that the finding rests on at least.
LEAST = 10
#: Letters that are looked at, from the beginning and the end of a text.
BEGINNING, END = 3000, 1000

_WORDS = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"\d+")


class _Leak(NamedTuple):
    label: int
    what: str
    recall: float
    """Share of the class's texts that have it."""
    elsewhere: float
    """Share of the other texts that have it."""


def label_leaks(items: Items) -> list[Finding]:
    """What looks like a leak; of many rows a sample is looked at.

    Two kinds. The label's own name stands in nearly all texts of its class and in next to no
    other. And a decision by one word: the word, or form of a number (``TCK-20931`` is ``tck-#``),
    or script, that tells a class best in one half of the texts is judged on the other half.
    """
    some = items.sample()
    heads = [_seen(item.text) for item in some.all]
    labels = np.array([item.label for item in some.all])
    named = _names_in_texts(heads, labels, some.names)
    known = {leak.label for leak in named}
    words = [leak for leak in _one_word_decisions(heads, labels) if leak.label not in known]
    findings = []
    if named:
        findings.append(_finding(some, named, "the label's own name"))
    if words:
        findings.append(_finding(some, words, "one word"))
    return findings


def _seen(text: str) -> str:
    short = text if len(text) <= BEGINNING + END else f"{text[:BEGINNING]} {text[-END:]}"
    return short.casefold()


def _names_in_texts(
    heads: Sequence[str], labels: NDArray[np.int64], names: Sequence[str]
) -> list[_Leak]:
    phrases = [f" {' '.join(_WORDS.findall(name.casefold()))} " for name in names]
    plain = [f" {' '.join(_WORDS.findall(head))} " for head in heads]
    sizes = Counter(labels.tolist())
    own = Counter(
        int(label)
        for label, text in zip(labels, plain, strict=True)
        if phrases[label].strip() and phrases[label] in text
    )
    leaks = []
    for label, hits in sorted(own.items()):
        if hits < max(LEAST, RECALL * sizes[label]):
            continue
        others = sum(phrases[label] in text for text in plain) - hits
        elsewhere = others / max(1, len(plain) - sizes[label])
        if elsewhere <= ELSEWHERE and hits >= PRECISION * (hits + others):
            leaks.append(_Leak(label, names[label], hits / sizes[label], elsewhere))
    return leaks


def _one_word_decisions(heads: Sequence[str], labels: NDArray[np.int64]) -> list[_Leak]:
    from sklearn.feature_extraction.text import CountVectorizer

    if len(heads) < 2 * LEAST:
        return []
    counter = CountVectorizer(analyzer=_features, binary=True, min_df=LEAST, dtype=np.int32)
    try:
        found = counter.fit_transform(heads).tocsr()
    except ValueError:  # no feature comes so often
        return []
    words = counter.get_feature_names_out()
    first = np.array([texts.rank(head, "leaks")[0][0] % 2 == 0 for head in heads])
    classes = np.unique(labels)
    best = _best_word(found[first], labels[first], classes, np.array([len(w) for w in words]))
    leaks = []
    unseen, truth = found[~first].tocsc(), labels[~first]
    for label, column in zip(classes, best, strict=True):
        has = unseen[:, [column]].toarray()[:, 0] > 0
        mine = truth == label
        hits, size = int((has & mine).sum()), int(mine.sum())
        if hits < max(LEAST, RECALL * size) or hits < PRECISION * has.sum():
            continue
        elsewhere = (has.sum() - hits) / max(1, len(truth) - size)
        if elsewhere <= ELSEWHERE:
            leaks.append(_Leak(int(label), str(words[column]), hits / size, float(elsewhere)))
    return leaks


def _best_word(
    found: Any, labels: NDArray[np.int64], classes: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The column of the highest F1 for each class, of ``found`` (texts, words), zeros and ones.

    Of equal ones the longest, which says most.
    """
    from scipy.sparse import csr_array

    words = csr_array(found)
    place = np.searchsorted(classes, labels)
    ones = np.ones(len(labels), dtype=np.int32)
    members = csr_array((ones, (place, np.arange(len(labels)))), shape=(len(classes), len(labels)))
    both = (members @ words).tocsr()
    have, sizes = np.asarray(words.sum(0)).ravel(), np.bincount(place, minlength=len(classes))
    best = np.zeros(len(classes), dtype=np.int64)
    for row in range(len(classes)):
        columns = both.indices[both.indptr[row] : both.indptr[row + 1]]
        hits = both.data[both.indptr[row] : both.indptr[row + 1]]
        if len(columns):
            f1 = 2 * hits / (have[columns] + sizes[row])
            best[row] = columns[np.lexsort((lengths[columns], f1))[-1]]
    return best


def _features(head: str) -> set[str]:
    """Words, forms of numbers, and the script of most letters."""
    found = set(_WORDS.findall(head))
    found |= {_NUMBER.sub("#", piece).strip(".,;:!?()[]\"'") for piece in head.split()}
    return {word for word in found if word and not word.isdecimal()} | {f"{script_of(head)} script"}


def _finding(items: Items, leaks: Sequence[_Leak], what: str) -> Finding:
    about = [
        f"{quoted([leak.what])} stands in {leak.recall:.0%} of the texts of class "
        f"{quoted([items.names[leak.label]])} and in {leak.elsewhere:.1%} of the others"
        for leak in leaks[:3]
    ]
    more = f"; ... {counted(len(leaks), 'class', 'classes')} in all" if len(leaks) > 3 else ""
    hint = " (# stands for digits)" if any("#" in leak.what for leak in leaks) else ""
    mine = {leak.label for leak in leaks}
    return Finding(
        kind="leak",
        sentence=f"looks like a leak: {what} decides a class. {'; '.join(about)}{more}{hint}"
        f"{items.among()}. If texts to be classified lack it, accuracy here says nothing of them",
        count=len(leaks),
        places=items.places(item for item in items.all if item.label in mine),
    )
