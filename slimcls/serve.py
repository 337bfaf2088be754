"""A finished run behind HTTP: ``python -m slimcls.serve RUN --port 8000``."""

from __future__ import annotations

import sys
from pathlib import Path

from slimcls import cli
from slimcls.serving.settings import ServeConfig

#: What brings the server.
EXTRA = "serve"


def main(argv: list[str] | None = None) -> int:
    """The command: answer until SIGTERM or Ctrl-C, which is a good end. Returns the exit code."""
    config = cli.parse(
        ServeConfig,
        sys.argv[1:] if argv is None else argv,
        prog="slimcls serve",
        positional=("run",),
        example="slimcls serve RUN --port 8000",
        extra=EXTRA,
    )
    from slimcls.classifier.description import read_description

    read_description(Path(config.run))
    from slimcls.serving.server import serve

    return serve(config)


if __name__ == "__main__":
    sys.exit(cli.run(main))
