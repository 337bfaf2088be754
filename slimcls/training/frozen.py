"""What a frozen backbone makes of each text: computed once, kept on disk, read any time.

Where a backbone is not trained and drops nothing out, its hidden states are constants of the text.
They are kept in the cache folder under ``features/``, by content: every item on its own, so that
other seeds, learning rates and amounts of data find what they share. Deleting the folder costs only
time.

A vector must have the same bits whoever computed it, among whichever other items and in whatever
order, or a run's numbers would depend on what ran before it. Kernels do not promise that: another
number of rows in a matrix product is another order of summation, and a thread that starts in the
middle of a vector register computes its edge in another way. So

- the shape of a batch follows from the length of its items alone; what is missing is filled up,
- a batch is computed by one thread, and several batches at a time by as many.

Within one shape and one thread a row's bits depend on neither its place nor its neighbours; tests
hold that for every family. On accelerators kernels may still differ in the last bits.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import platform
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from torch import Tensor, nn
from tqdm import tqdm
from transformers import PreTrainedModel

import slimcls
from slimcls.backbones.families import context_of
from slimcls.backbones.sources import Source
from slimcls.classifier.prefix import Prefix
from slimcls.classifier.trunk import decoder_of, read_prefix
from slimcls.data.batches import Batch
from slimcls.errors import UserError
from slimcls.log import Log
from slimcls.storage.cache import cache_dir
from slimcls.storage.vectors import Vectors, digest

#: Raised whenever the same settings give other vectors.
FORMAT = 1
#: Tokens of a batch, and of what its items' lengths are rounded up to a multiple.
TOKENS, STEP = 256, 4
#: Rows are a multiple of this, so that no vector register holds parts of two batches' ends.
ROWS = 8
#: A run that is killed loses the vectors of so many seconds at most.
KEEP_EVERY = 30.0


@dataclass(frozen=True)
class Reading:
    """What is read of a backbone's hidden states."""

    name: str
    """Tells what is kept of one reading from what is kept of others."""
    read: Callable[[PreTrainedModel, Batch, Prefix | None], Tensor]
    """From a backbone and a batch (items, ...), behind a prefix if any, in what it is kept in."""


class Frozen:
    """What is read of each text from a frozen backbone.

    Args:
        open_model: Opens the model, with any head, where something has to be computed.
        origin: All that a vector's bits depend on beside the text, the prefix and the precision;
            see :func:`origin_of`.
        reading: What is read.
        device: Where it is computed; the model is moved there.
        log: Is told what was found and what was computed.
    """

    def __init__(
        self,
        open_model: Callable[[], PreTrainedModel],
        origin: dict[str, object],
        reading: Reading,
        device: str,
        log: Log,
    ) -> None:
        self._open, self._reading, self._device, self._log = open_model, reading, device, log
        self._origin = origin | ({"reading": reading.name} if reading.name else {})
        self._known: dict[Path, dict[bytes, Tensor]] = {}

    def of(self, items: Sequence[list[int]], prefix: list[int], precision: str) -> Tensor:
        """What is read (items, ...) of token ids that follow those of ``prefix``.

        What no run has computed before is computed now. ``precision`` is that of the arithmetic.
        """
        store = self._store(prefix, precision)
        known = self._known.setdefault(store.folder, {})
        keys = [digest(ids) for ids in items]
        wanted = {key: ids for key, ids in zip(keys, items, strict=True) if key not in known}
        known |= store.read(wanted)
        computed = 0
        if not wanted.keys() <= known.keys():
            with store.alone(lambda: self._log.say("waiting for another run's features")):
                computed = self._complete(known, wanted, store, prefix, precision)
        if wanted:
            found = len(wanted) - computed
            self._log.say(f"features: {found} from the cache, {computed} computed")
        return torch.stack([known[key] for key in keys])

    def identity(self, prefix: list[int], precision: str) -> str:
        """All that a vector depends on beside its text, in a word."""
        return self._store(prefix, precision).folder.name

    def _store(self, prefix: list[int], precision: str) -> Vectors:
        return Vectors(_folder(self._origin | {"prefix": prefix, "precision": precision}))

    def _complete(
        self,
        known: dict[bytes, Tensor],
        wanted: dict[bytes, list[int]],
        store: Vectors,
        prefix: list[int],
        precision: str,
    ) -> int:
        """Add to ``known`` what it lacks of ``wanted``; how much had to be computed."""
        known |= store.read(wanted.keys() - known.keys())
        rest = {key: ids for key, ids in wanted.items() if key not in known}
        for some in self._computed(rest, prefix, precision) if rest else ():
            known |= some
            self._keep(store, some)
        return len(rest)

    def _keep(self, store: Vectors, vectors: dict[bytes, Tensor]) -> None:
        try:
            store.add(vectors)
        except UserError:
            self._log.say(
                f"note: features cannot be kept in {store.folder}, another run computes them "
                "again; set SLIMCLS_CACHE to a folder that can be written"
            )

    def _computed(
        self, items: dict[bytes, list[int]], prefix: list[int], precision: str
    ) -> Iterator[dict[bytes, Tensor]]:
        """What is read of the items, portion by portion."""
        model = self._open()
        batches = _batches(items, _room(model, prefix))
        some: dict[bytes, Tensor] = {}
        since = time.monotonic()
        bar = tqdm(total=len(items), disable=not self._log.bars, leave=False)
        # transformers wraps this method in a way that hides its types.
        nn.Module.to(model, self._device)
        with bar, _Pool(model, self._reading, prefix, precision) as pool:
            vectors = pool.map([batch for _, batch in batches])
            for (keys, _), found in zip(batches, vectors, strict=True):
                some |= dict(zip(keys, found, strict=False))  # what fills up has no key
                bar.update(len(keys))
                if time.monotonic() - since > KEEP_EVERY:
                    yield some
                    some, since = {}, time.monotonic()
        if some:
            yield some


class _Pool:
    """Threads that each put whole batches through a frozen backbone, on a CPU one a core."""

    def __init__(
        self, model: PreTrainedModel, reading: Reading, prefix: list[int], precision: str
    ) -> None:
        self._base, self._reading = decoder_of(model), reading
        self._device = model.device
        self._arithmetic = precision
        self._prefix_ids = prefix
        self._own = threading.local()
        self._threads = torch.get_num_threads()
        count = self._threads if self._device.type == "cpu" else 1
        self._pool = ThreadPoolExecutor(count, initializer=self._start)

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *raised: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        # The last number that any thread has set holds for threads that begin later.
        torch.set_num_threads(self._threads)

    def map(self, batches: Sequence[Batch]) -> Iterator[Tensor]:
        """What is read (items, ...) of each batch in turn."""
        prefix = self._pool.submit(self._read_prefix).result() if self._prefix_ids else None
        return self._pool.map(lambda batch: self._read(batch, prefix), batches)

    def _start(self) -> None:
        torch.set_num_threads(1)
        # Reading puts hooks on modules: each thread needs modules of its own.
        shared = itertools.chain(self._base.parameters(), self._base.buffers())
        self._own.base = copy.deepcopy(self._base, {id(tensor): tensor for tensor in shared})
        self._own.base.eval()

    def _read_prefix(self) -> Prefix:
        with torch.no_grad(), self._autocast():
            return read_prefix(self._own.base, torch.tensor(self._prefix_ids, device=self._device))

    def _read(self, batch: Batch, prefix: Prefix | None) -> Tensor:
        here = Batch(*(tensor.to(self._device) for tensor in vars(batch).values()))
        with torch.no_grad(), self._autocast():
            return self._reading.read(self._own.base, here, prefix).cpu()

    def _autocast(self) -> torch.autocast:
        """The arithmetic that Lightning has for this precision; threads do not inherit it."""
        dtype = {"bf16": torch.bfloat16, "16": torch.float16}.get(self._arithmetic)
        return torch.autocast(self._device.type, dtype, enabled=dtype is not None)


def _room(model: PreTrainedModel, prefix: list[int]) -> int:
    """Tokens that a model can read behind the prefix."""
    return context_of(model.config) - len(prefix)


def _batches(items: dict[bytes, list[int]], room: int) -> list[tuple[list[bytes], Batch]]:
    """Batches whose shape follows from the length of their items, with the keys of their rows."""
    by_tokens: dict[int, list[bytes]] = {}
    for key, ids in items.items():
        tokens = max(len(ids), min(-(-len(ids) // STEP) * STEP, room))
        by_tokens.setdefault(tokens, []).append(key)
    return [
        (part, _batch([items[key] for key in part], rows, tokens))
        for tokens, keys in by_tokens.items()
        for rows in [max(ROWS, TOKENS // tokens // ROWS * ROWS)]
        for part in (keys[i : i + rows] for i in range(0, len(keys), rows))
    ]


def _batch(items: Sequence[list[int]], rows: int, tokens: int) -> Batch:
    """A batch of this shape; rows without an item hold one token 0."""
    ids = torch.zeros(rows, tokens, dtype=torch.int64)
    lengths = torch.ones(rows, dtype=torch.int64)
    for row, item in enumerate(items):
        ids[row, : len(item)] = torch.tensor(item)
        lengths[row] = len(item)
    return Batch(ids, lengths, torch.zeros_like(lengths), torch.arange(rows))


def origin_of(
    source: Source, layers: Sequence[int], device: str, seed: int | None = None
) -> dict[str, object]:
    """All that a vector's bits depend on beside what is read, the text, prefix and precision.

    ``seed`` drew the blocks' weights, where they are not the stored ones.
    """
    return {
        "format": FORMAT,
        "slimcls": slimcls.__version__,
        "source": source.fingerprint,
        "layers": list(layers),
        "random": seed,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "products": torch.get_float32_matmul_precision(),
        "machine": torch.cuda.get_device_name() if device == "cuda" else [device, *_processor()],
    }


def _processor() -> list[str]:
    """What makes libraries choose their kernels: folders in a home may serve several machines."""
    known = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU part")
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:  # not Linux
        first = ""
    lines = [line for line in first.splitlines() if line.partition(":")[0].strip() in known]
    return [platform.machine(), torch.backends.cpu.get_cpu_capability(), *lines]


def _folder(identity: dict[str, object]) -> Path:
    """Where vectors of one reading of a backbone behind one prefix lie."""
    content = json.dumps(identity, sort_keys=True)
    return cache_dir() / "features" / hashlib.sha256(content.encode()).hexdigest()[:32]
