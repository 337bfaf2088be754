from collections import Counter

import pytest
from data.shared_data import data_dir
from hypothesis import given, settings
from hypothesis import strategies as st

from slimcls.data import catalog, tables
from slimcls.data.spec import DatasetSpec
from slimcls.data.splits import draw
from slimcls.data.tables import Table, Tables
from slimcls.data.texts import key, rank
from slimcls.errors import UserError

DEFAULTS = {"shots": 5, "demos": 1, "seed": 0, "validation_size": 1000, "test_size": 1000}


def _table(counts, word="train"):
    table = Table()
    for label, count in enumerate(counts):
        for n in range(count):
            table.ids.append(len(table.ids))
            table.texts.append(f"{word} {label} {n}")
            table.labels.append(label)
    return table


def _tables(train, test, validation=None):
    parts = [
        part if isinstance(part, Table) else _table(part, w)
        for part, w in ((train, "train"), (test, "test"))
    ]
    own = _table(validation, "validation") if isinstance(validation, list) else validation
    classes = max([*parts[0].labels, *parts[1].labels]) + 1
    spec = DatasetSpec(name="made", labels=tuple(f"c{n}" for n in range(classes)))
    return Tables(spec, parts[0], own, parts[1], "sha256:0")


def _draw(tables_, **changes):
    return draw(tables_, **{**DEFAULTS, **changes})


def _parts(splits):
    return (splits.demonstrations, splits.train, splits.validation, splits.test)


def _counts(part):
    return dict(sorted(Counter(item.label for item in part).items()))


@st.composite
def _worlds(draw_):
    """Sources with few different texts, so that they repeat within and across parts."""
    classes = draw_(st.integers(2, 4))
    words = st.sampled_from([f"Word {n}" for n in range(60)] + [f"word  {n} " for n in range(30)])

    def table(least, most):
        rows = draw_(
            st.lists(st.tuples(words, st.integers(0, classes - 1)), min_size=least, max_size=most)
        )
        return Table(list(range(len(rows))), [t.strip() for t, _ in rows], [n for _, n in rows])

    every = Table(
        [100 + n for n in range(12 * classes)],
        [f"only {n}" for n in range(12 * classes)],
        [n % classes for n in range(12 * classes)],
    )
    train = table(0, 60)
    train = Table(train.ids + every.ids, train.texts + every.texts, train.labels + every.labels)
    own = table(1, 30) if draw_(st.booleans()) else None
    return _tables(train, table(1, 40), own)


@settings(max_examples=150, deadline=None)
@given(
    world=_worlds(),
    shots=st.one_of(st.integers(1, 8), st.just("all")),
    demos=st.integers(0, 2),
    seed=st.integers(0, 2000),
    validation_size=st.integers(1, 40),
    test_size=st.integers(1, 40),
    rule=st.sampled_from(["stratified", "paper"]),
)
def test_what_every_draw_keeps(world, shots, demos, seed, validation_size, test_size, rule):
    arguments = {
        "shots": shots, "demos": demos, "seed": seed,
        "validation_size": validation_size, "test_size": test_size, "rule": rule,
    }  # fmt: skip
    splits = draw(world, **arguments)
    keys = [{key(item.text) for item in part} for part in _parts(splits)]
    for one in range(4):
        for other in range(one):
            assert not keys[one] & keys[other]
    assert len(keys[0]) == len(splits.demonstrations)
    assert len(keys[1]) == len(splits.train)
    whole_test = {key(text) for text in world.test.texts}
    assert not (keys[0] | keys[1] | keys[2]) & whole_test
    if world.validation is not None:
        whole = {key(text) for text in world.validation.texts}
        assert not (keys[0] | keys[1]) & whole
    assert 1 <= len(splits.validation) <= min(validation_size, len(world.test))
    assert len(splits.test) == min(test_size, len(world.test))
    labels = [item.label for item in splits.demonstrations]
    assert labels == sorted(labels)
    assert max(Counter(labels).values(), default=0) <= demos
    if shots != "all":
        assert max(_counts(splits.train).values()) <= shots
    assert set(_counts(splits.train)) == set(range(len(world.spec.labels)))
    by_id = dict(zip(world.train.ids, world.train.texts, strict=True))
    assert all(by_id[item.id] == item.text for item in splits.train)
    assert draw(world, **arguments) == splits


def test_the_draw_is_the_same_for_ever():
    splits = _draw(_tables([40, 40], [30, 30]), seed=421)
    assert [item.id for item in splits.train] == [72, 5, 67, 32, 77, 25, 40, 70, 38, 30]
    assert [item.id for item in splits.demonstrations] == [33, 68]
    assert [item.id for item in splits.validation][:5] == [43, 69, 60, 41, 3]


def test_the_order_of_the_source_does_not_matter():
    one = _table([40, 40])
    other = one.select(list(range(80))[::-1])
    first, second = (_draw(_tables(table, [20, 20])) for table in (one, other))
    assert _parts(first) == _parts(second)


def test_a_seed_redraws_every_part():
    made = _tables([400, 400], [300, 300])
    changes = {"shots": 20, "demos": 2, "validation_size": 50, "test_size": 50}
    one, other = (_parts(_draw(made, seed=seed, **changes)) for seed in (0, 42))
    for first, second in zip(one, other, strict=True):
        assert set(first) != set(second)


def test_more_shots_hold_the_fewer_ones():
    made = _tables([100, 100], [50, 50])
    few, many = (_draw(made, shots=shots) for shots in (5, 20))
    assert set(few.train) < set(many.train)
    assert few.demonstrations == many.demonstrations
    assert few.validation == many.validation


def test_validation_is_in_proportion_and_holds_every_class():
    splits = _draw(_tables([900, 80, 12], [60, 40]), shots=10)
    assert _counts(splits.validation) == {0: 91, 1: 8, 2: 1}
    splits = _draw(_tables([900, 95, 5], [60, 40]), shots=10)
    assert _counts(splits.validation) == {0: 90, 1: 9, 2: 1}
    assert _counts(splits.train) == {0: 10, 1: 10, 2: 3}
    assert any(note.startswith("class c2 gives 3 of 10 training items") for note in splits.notes)


def test_a_class_too_small_for_validation_trains():
    splits = _draw(_tables([900, 2], [60, 2]), shots=10)
    assert _counts(splits.validation) == {0: 62}
    assert _counts(splits.demonstrations) == {0: 1, 1: 1}
    assert _counts(splits.train) == {0: 10, 1: 1}


def test_training_comes_before_demonstrations_in_a_class_of_one():
    splits = _draw(_tables([900, 1], [60, 2]), shots=10, demos=2)
    assert _counts(splits.demonstrations) == {0: 2}
    assert _counts(splits.train) == {0: 10, 1: 1}
    assert "class c1 gives 0 of 2 demonstrations" in splits.notes


def test_validation_leaves_most_of_a_small_training_part():
    splits = _draw(_tables([50, 50], [400, 400]), shots="all")
    assert _counts(splits.validation) == {0: 10, 1: 10}
    assert len(splits.train) == 78
    assert any("validation takes 20 items, 1 in 5 of train" in note for note in splits.notes)
    assert any("warning: validation has 20 items" in note for note in splits.notes)


def _in_the_authors_order(train, test, *, seed, shots, size):
    """Validation at random, then a demonstration and ``shots`` a class from the rest.

    Written anew from the protocol; only the shuffles, which sort by a hash, are ours.
    """
    rows = list(zip(train.ids, train.texts, train.labels, strict=True))
    taken = {" ".join(text.casefold().split()) for text in test.texts}
    kept = []
    for row in rows:
        folded = " ".join(row[1].casefold().split())
        if folded not in taken:
            taken.add(folded)
            kept.append(row)

    def shuffled(some, part):
        return sorted(some, key=lambda row: rank(row[1], f"{seed} {part}"))

    order = shuffled(kept, "validation")
    size = min(size, len(test))
    validation, rest = order[:size], order[size:]
    demonstrations, training = [], []
    for label in sorted(set(train.labels)):
        mine = [row for row in rest if row[2] == label]
        first = shuffled(mine, "demonstrations")[:1]
        demonstrations += first
        training += shuffled([row for row in mine if row not in first], "train")[:shots]
    return tuple([row[0] for row in part] for part in (demonstrations, training, validation))


@pytest.mark.parametrize("seed", [0, 42, 421])
def test_paper_draws_real_trec_as_its_authors_did(seed):
    loaded = tables.read_tables(catalog.find_dataset("trec"), data_dir())
    splits = draw(loaded, **{**DEFAULTS, "seed": seed, "shots": 200}, rule="paper")
    demonstrations, training, validation = _in_the_authors_order(
        loaded.train, loaded.test, seed=seed, shots=200, size=1000
    )
    assert [item.id for item in splits.demonstrations] == demonstrations
    assert sorted(item.id for item in splits.train) == sorted(training)
    assert [item.id for item in splits.validation] == validation
    assert _counts(splits.validation)[0] > 0, "the smallest class is validated on, too"


def test_paper_takes_validation_first_and_at_random():
    made = _tables([3000, 60], [100, 100])
    small = set()
    for seed in range(5):
        splits = _draw(made, seed=seed, shots=90, rule="paper")
        validated = _counts(splits.validation).get(1, 0)
        assert _counts(splits.train) == {0: 90, 1: 60 - 1 - validated}
        assert _counts(splits.demonstrations) == {0: 1, 1: 1}
        small.add(validated)
    assert len(small) > 1, "by class it would be the same number for every seed"


def test_paper_leaves_every_class_something_to_train_on():
    made = _tables([400, *[1] * 30], [400, *[1] * 30])
    splits = _draw(made, shots=10, demos=0, rule="paper")
    assert len(splits.validation) == (400 + 30) // 5
    assert set(_counts(splits.train)) == set(range(31))


def test_paper_with_all_shots_still_validates():
    splits = _draw(_tables([300, 300], [50, 50]), shots="all", rule="paper")
    assert len(splits.validation) == 100
    assert len(splits.train) == 600 - 100 - 2


def test_paper_with_a_small_training_part():
    splits = _draw(_tables([22, 22], [50, 50]), shots=20, rule="paper")
    assert len(splits.validation) == 8
    assert any("validation takes 8 items, 1 in 5 of train" in note for note in splits.notes)
    assert any("of 20 training items" in note for note in splits.notes)


def test_shots_that_no_class_has():
    with pytest.raises(UserError, match=r"--shots 200: no class of made has .* c1, has 30; give"):
        _draw(_tables([20, 30], [10, 10]), shots=200)
    assert len(_draw(_tables([20, 30], [10, 10]), shots=30).train) > 0


def test_the_sources_own_validation_is_used():
    for rule in ("stratified", "paper"):
        splits = _draw(_tables([50, 50], [20, 20], [60, 30]), rule=rule)
        assert len(splits.validation) == 40
        assert all(item.text.startswith("validation") for item in splits.validation)
    assert _counts(_draw(_tables([50, 50], [20, 20], [60, 30])).validation) == {0: 27, 1: 13}


def test_repeats_are_counted_and_taken_out_of_train():
    train, test = _table([30, 30]), _table([10, 10], "test")
    own = _table([10, 10], "validation")
    train.texts[:4] = [test.texts[0].upper(), own.texts[5], train.texts[30], train.texts[31]]
    own.texts[0] = f" {test.texts[1]}"
    splits = _draw(_tables(train, test, own), shots="all")
    assert splits.repeats_removed == 5
    assert splits.notes == (
        "1 validation texts that also occur in test taken out",
        "2 training texts that also occur in test or validation taken out",
        "2 repeats within the training texts taken out",
    )


def test_a_class_that_only_repeats_test():
    train, test = _table([30, 2]), _table([10, 2], "test")
    train.texts[30:] = test.texts[10:]
    with pytest.raises(UserError, match="class c1 has no training text that does not occur in tes"):
        _draw(_tables(train, test))


def test_nothing_left_to_validate_on():
    with pytest.raises(UserError, match="nothing is left to validate on"):
        _draw(_tables([2, 2], [5, 5]), shots=1)


def test_real_trec_has_its_small_class_in_every_part():
    loaded = tables.read_tables(catalog.find_dataset("trec"), data_dir())
    for seed in (0, 42):
        splits = draw(loaded, **{**DEFAULTS, "seed": seed, "shots": 200})
        assert [len(part) for part in _parts(splits)] == [6, 1075, 500, 500]
        assert all(_counts(part)[0] > 0 for part in _parts(splits))
        assert splits.repeats_removed == 11 + 72
    paper = draw(loaded, **{**DEFAULTS, "shots": 200}, rule="paper")
    assert [len(part) for part in _parts(paper)] == [6, 1073, 500, 500]


def test_real_sst2_as_in_the_protocol():
    loaded = tables.read_tables(catalog.find_dataset("sst2"), data_dir())
    splits = draw(loaded, **{**DEFAULTS, "shots": 200}, rule="paper")
    assert [len(part) for part in _parts(splits)] == [2, 400, 872, 872]
    assert splits.repeats_removed == 371
