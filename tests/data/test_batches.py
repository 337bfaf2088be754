"""Every item once an epoch, in an order that a stopped run finds again."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from slimcls.data.batches import GROUP, TrainingBatches, collate
from slimcls.data.by_length import batches_by_length

lengths = st.lists(st.integers(1, 300), min_size=1, max_size=400)


@given(lengths, st.integers(1, 40), st.integers(0, 5), st.integers(0, 3))
def test_each_item_once_an_epoch(sizes: list[int], batch: int, seed: int, epoch: int) -> None:
    batches = TrainingBatches(sizes, batch, seed)
    batches.set_epoch(epoch)
    order = list(batches)
    assert len(order) == len(batches)
    assert sorted(place for places in order for place in places) == list(range(len(sizes)))
    assert max(len(places) for places in order) <= batch


@given(lengths, st.integers(1, 40), st.integers(0, 60))
def test_started_inside_an_epoch_gives_the_rest_of_the_same_order(
    sizes: list[int], batch: int, done: int
) -> None:
    whole = TrainingBatches(sizes, batch, 7)
    whole.set_epoch(2)
    done = min(done, len(whole))
    rest = TrainingBatches(sizes, batch, 7)
    rest.start_at(2, done)
    rest.set_epoch(2)
    assert list(rest) == list(whole)[done:]
    assert list(rest) == list(whole)[done:], "asked twice, the same"
    assert len(rest) == len(whole), "an epoch's length does not depend on where it started"
    rest.set_epoch(3)
    whole.set_epoch(3)
    assert list(rest) == list(whole)


budgets = st.integers(1, 2000)


@given(lengths, budgets, st.integers(1, 4), st.integers(0, 5))
def test_a_token_budget_is_kept(sizes: list[int], tokens: int, epochs: int, seed: int) -> None:
    """Padding counted; a longer item stands alone; all epochs have as many batches."""
    batches = TrainingBatches(sizes, 16, seed, tokens=tokens, epochs=epochs)
    for epoch in range(epochs):
        batches.set_epoch(epoch)
        order = list(batches)
        assert len(order) == len(batches)
        assert sorted(place for places in order for place in places) == list(range(len(sizes)))
        for places in order:
            padded = len(places) * max(sizes[place] for place in places)
            assert padded <= tokens or len(places) == 1


@given(lengths, budgets, st.integers(0, 200), st.integers(1, 3))
def test_a_budget_too_goes_on_inside_an_epoch(
    sizes: list[int], tokens: int, done: int, world: int
) -> None:
    def made() -> TrainingBatches:
        more = {"rank": world - 1, "world_size": world}
        return TrainingBatches(sizes, 16, 7, tokens=tokens, epochs=3, **more)

    whole, rest = made(), made()
    whole.set_epoch(2)
    done = min(done, len(whole))
    rest.start_at(2, done)
    rest.set_epoch(2)
    assert list(rest) == list(whole)[done:]
    assert len(rest) == len(whole)


@given(lengths, budgets, st.integers(1, 5))
def test_processes_share_a_budget_evenly(sizes: list[int], tokens: int, world: int) -> None:
    parts = [
        list(TrainingBatches(sizes, 1, 3, tokens=tokens, epochs=2, rank=rank, world_size=world))
        for rank in range(world)
    ]
    assert len({len(part) for part in parts}) == 1
    seen = {place for part in parts for places in part for place in places}
    assert seen == set(range(len(sizes)))


def test_a_budget_is_filled() -> None:
    sizes = torch.randint(1, 100, (5000,), generator=torch.Generator().manual_seed(0)).tolist()
    batches = TrainingBatches(sizes, 16, 0, tokens=1000, epochs=5)
    for epoch in range(5):
        order = batches.order(epoch)
        padded = [len(b) * max(sizes[i] for i in b) for b in order]
        assert sum(padded) > 0.9 * 1000 * len(order)
        assert sum(padded) < 1.1 * sum(sizes)
    assert batches.order(0) != batches.order(1)


def test_epochs_and_seeds_differ() -> None:
    sizes = list(range(1, 200))
    first, second = TrainingBatches(sizes, 8, 0), TrainingBatches(sizes, 8, 1)
    assert first.order(0) != first.order(1)
    assert first.order(0) != second.order(0)


@given(lengths, st.integers(1, 16), st.integers(1, 5))
def test_processes_share_an_epoch_evenly(sizes: list[int], batch: int, world: int) -> None:
    parts = [
        list(TrainingBatches(sizes, batch, 3, rank=rank, world_size=world)) for rank in range(world)
    ]
    assert len({len(part) for part in parts}) == 1
    seen = {place for part in parts for places in part for place in places}
    assert seen == set(range(len(sizes)))


def test_grouping_leaves_little_padding() -> None:
    sizes = torch.randint(1, 200, (16 * GROUP * 4,), generator=torch.Generator().manual_seed(0))
    batches = TrainingBatches(sizes.tolist(), 16, 0)
    padded = sum(len(b) * max(int(sizes[i]) for i in b) for b in batches)
    assert padded < 1.15 * int(sizes.sum())


@given(lengths, st.integers(1, 40))
def test_by_length_sorts_and_loses_nothing(sizes: list[int], batch: int) -> None:
    flat = [place for places in batches_by_length(sizes, batch) for place in places]
    assert sorted(flat) == list(range(len(sizes)))
    assert [sizes[place] for place in flat] == sorted(sizes, reverse=True)


def test_collate_pads_on_the_right() -> None:
    batch = collate([(4, [7, 8, 9], 1), (2, [5], 0)], pad_id=0)
    assert batch.input_ids.tolist() == [[7, 8, 9], [5, 0, 0]]
    assert batch.lengths.tolist() == [3, 1]
    assert batch.labels.tolist() == [1, 0]
    assert batch.places.tolist() == [4, 2]
