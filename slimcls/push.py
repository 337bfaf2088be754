"""A finished classifier to the Hugging Face hub: ``python -m slimcls.push RUN ORG/NAME``."""

from __future__ import annotations

import sys
from pathlib import Path

from slimcls import cli
from slimcls.classifier.description import read_description
from slimcls.errors import UserError
from slimcls.exporting.settings import PARITY
from slimcls.pushing.settings import PushConfig


def push(config: PushConfig) -> str:
    """Push a classifier with its card, in one commit; what was done, in lines.

    Raises :class:`slimcls.errors.UserError` for what the caller got wrong and for what the hub
    refuses; then nothing was published.
    """
    run = Path(config.run)
    if not run.is_dir():
        raise UserError(f"{config.run}: no such run directory")
    folder, description = read_description(run)
    from slimcls.classifier.artefact import load
    from slimcls.pushing import card, parcel, sending
    from slimcls.runs.results import read_result

    of_a_run = folder.name == "model" and not (folder / PARITY).exists()
    result = read_result(folder.parent) if of_a_run else None
    if within := parcel.texts_within(description):
        if config.public and not config.show_texts:
            raise UserError(f"{config.run}: {within}; --show-texts shows them to everybody")
        print(f"note: {within}", file=sys.stderr)
    token = sending.find_token()
    there = sending.look(config, token)
    load(folder)  # raises where its files are damaged or not of one run
    found = card.carried(config, description, result)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    text = card.hub_card(config, folder, description, result, found)
    packed = parcel.packed(folder, text)
    parcel.check_parcel(packed, folder, result, token)
    if packed.left:
        print(f"note: stays here: {', '.join(packed.left)}", file=sys.stderr)
    sent = sending.send(config, packed, there, token)
    who = "private" if sent.private else "public"
    done = "nothing has changed" if sent.unchanged else f"commit {sent.commit[:10]}"
    return (
        f"{sent.url}: {who}, {done}, {len(packed.files)} files, {packed.megabytes:.1f} MB\n"
        f'try next: slimcls predict {config.repo} "some text"'
    )


def main(argv: list[str] | None = None) -> int:
    """The command: push, and say where it is. Returns the exit code."""
    config = cli.parse(
        PushConfig,
        sys.argv[1:] if argv is None else argv,
        prog="slimcls push",
        positional=("run", "repo"),
        example="slimcls push RUN me/tickets",
    )
    cli.say(push(config))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
