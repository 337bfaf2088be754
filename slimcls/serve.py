"""A finished run behind HTTP: ``python -m slimcls.serve RUN --port 8000``."""

from __future__ import annotations

import sys
from pathlib import Path

from slimcls import cli
from slimcls.serving.settings import ServeConfig

#: What brings the server.
EXTRA = "serve"


def serve(config: ServeConfig) -> int:
    """Answer requests until SIGTERM or Ctrl-C, which is a good end; the exit code.

    Raises UserError before it has begun to listen.
    """
    from slimcls.serving.server import answer, listening, opened, say_where

    if config.processes > 1:
        from slimcls.serving.processes import serve_together

        with listening(config) as listener:
            return serve_together(config, listener, lambda: say_where(config, listener))
    app = opened(config)
    with listening(config) as listener:
        answer(app, listener, lambda: say_where(config, listener))
    return 0


def main(argv: list[str] | None = None) -> int:
    """The command: answer requests. Returns the exit code."""
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
    return serve(config)


if __name__ == "__main__":
    sys.exit(cli.run(main))
