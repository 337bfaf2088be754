"""slimcls serve under load: whatever waits computed together, against one by one.

Both sides are the same server on the same exported folder, once as it is and once with
``--batch-size 1``. 64 users, on connections that stay open, ask as fast as they are answered, in a
process of their own without a client library. Then they ask at half the rate that was reached, for
the spread of the times, and at last the server is told to stop while they ask. The folder is the
packaged model cut to two layers, trained in passing on trec, which both sides must answer alike.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import harness, workload
from benchmarks.harness import Different, Row, figure, ratio
from benchmarks.predict import finished_run
from slimcls import cli

USERS = 64
#: Seconds that users ask.
SECONDS = {"small": 3.0, "full": 10.0}
REPETITIONS = {"small": 2, "full": 5}
SIDES = {"up to 32 together": "32", "one by one": "1"}
#: Enough that classes are told apart: else a rounding decides the label.
TRAINED: dict[str, Any] = {"shots": 100, "epochs": 2, "batch_size": 8}
#: Bits with how far probabilities of the sides may be apart. At 8 bits the texts of a batch share
#: the scale of what goes into a product, and whoever is on an edge may get another label.
WITHIN = {32: 1e-4, 8: 0.3}
#: Share of the texts that may.
EDGE = 0.04


@contextmanager
def server(folder: Path, batch_size: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server in a process of its own, and its port; it is gone behind the block."""
    words = ["-m", "slimcls.serve", str(folder), "--port", "0", "--batch-size", batch_size]
    with subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        match = re.search(r"at http://[^ ]+:(\d+);", said)
        if not match:
            raise RuntimeError(said + process.stderr.read())
        try:
            yield process, int(match[1])
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


def users(**words: Any) -> subprocess.Popen[str]:
    """Users in a process of their own, who begin at once."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.users"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"users": USERS} | words))
    process.stdin.close()
    return process


def answered(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What users got. Raises RuntimeError where any was refused."""
    assert process.stdout is not None
    found: dict[str, Any] = json.loads(process.stdout.read())
    process.wait()
    if set(found["statuses"]) != {"200"}:
        raise RuntimeError(f"the server answered {found['statuses']}")
    return found


def rates(folder: Path, texts: list[str], options: Any, bits: int) -> Row:
    """Good answers a second of both sides, in turns."""
    seconds = SECONDS[options.size]
    found: dict[str, list[float]] = {name: [] for name in SIDES}
    for turn in range(options.repetitions or REPETITIONS[options.size]):
        for name in list(SIDES)[:: 1 if turn % 2 else -1]:
            with server(folder, SIDES[name]) as (_, port):
                one = answered(users(port=port, texts=texts, seconds=seconds))
            found[name].append(one["statuses"]["200"] / one["elapsed"])
    together, single = found.values()
    times = ratio(together, single, name="times the requests a second", at_least=2.5)
    return Row(f"{bits} bits, {USERS} users", found, [times], "requests/s")


def spread_at_half(
    folder: Path, texts: list[str], options: Any, rate: float, bits: int
) -> tuple[Row, Row]:
    """Times at half the rate that was reached; and what is lost when the server stops meanwhile."""
    middle, slow, lost = [], [], []
    seconds = SECONDS[options.size]
    for _ in range(options.repetitions or REPETITIONS[options.size]):
        with server(folder, "32") as (process, port):
            at_half = answered(users(port=port, texts=texts, seconds=seconds, rate=rate / 2))
            times = sorted(at_half["seconds"])
            middle.append(1000 * times[len(times) // 2])
            slow.append(1000 * times[int(0.99 * (len(times) - 1))])
            last = users(port=port, texts=texts, seconds=60.0)
            time.sleep(seconds / 2)
            process.send_signal(signal.SIGTERM)
            lost.append(float(answered(last)["lost"]))
    tail = ratio(slow, middle, name="99th of 100 over the median", at_most=2.0)
    none = figure("lost at SIGTERM", lost, at_most=0.0)
    return (
        Row(f"{bits} bits, half load", {"median": middle, "99th of 100": slow}, [tail], "ms"),
        Row(f"{bits} bits, stopped", {"lost": lost}, [none], "requests"),
    )


def check_alike(folder: Path, texts: list[str], within: float) -> str:
    """How many texts computed together get another label than one by one, in words.

    Raises Different where they are too many, or probabilities are too far apart.
    """
    import slimcls

    classifier = slimcls.load(folder)
    together = classifier.predict(texts, batch_size=32)
    single = [classifier.predict([text])[0] for text in texts]
    values = [[list(one.probabilities.values()) for one in side] for side in (together, single)]
    harness.agree("probabilities", dict(zip(SIDES, values, strict=True)), within)
    other = sum(a.label != b.label for a, b in zip(together, single, strict=True))
    if other > EDGE * len(texts):
        raise Different(f"{other} of {len(texts)} texts get another label one by one")
    return f"{other} of {len(texts)} texts get another label one by one"


def main(argv: list[str] | None = None) -> int:
    """Train, export, serve, measure, report."""
    options = harness.parser("serving", __doc__).parse_args(argv)
    from slimcls.export import export
    from slimcls.exporting.settings import ExportConfig

    rows: list[Row] = []
    with workload.run_folder() as runs, tempfile.TemporaryDirectory() as place:
        run, texts = finished_run("cls", options.data_dir, runs, **TRAINED)
        for bits, within in WITHIN.items():
            folder = Path(place) / str(bits)
            words = {"run": str(run.parent), "out": str(folder), "bits": bits, "tolerate": 100.0}
            export(ExportConfig(**words, data_dir=options.data_dir))
            alike = check_alike(folder, texts, within)
            rows.append(replace(rates(folder, texts, options, bits), note=alike))
            best = harness.spread(rows[-1].sides["up to 32 together"]).median
            rows += spread_at_half(folder, texts, options, best, bits)
    settings = {"model": "smollm2-135m", "dataset": "trec", "keep": 2, "mode": "cls"}
    harness.report("serving", rows, options, settings | {"users": USERS})
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
