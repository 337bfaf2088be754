"""The application: what can be asked of a server, and what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, ConfigDict, FailFast, Field, StrictStr
from starlette.responses import JSONResponse
from typing_extensions import TypeAliasType

from slimcls.data.lines import no_utf8
from slimcls.data.pairs import Pair, parts_of
from slimcls.errors import UserError
from slimcls.serving.batching import Batcher, Full
from slimcls.serving.gate import Gate
from slimcls.serving.metrics import Metrics
from slimcls.serving.settings import ServeConfig
from slimcls.version import __version__

if TYPE_CHECKING:
    from slimcls.classifier.prediction import Prediction, Predictor

#: Seconds after which whoever was turned away may come again.
RETRY = 1


#: Several texts. One fault is told: a body of half a million of them would hold up everybody.
Several = TypeAliasType("Several", Annotated[list[StrictStr], FailFast()])


class Ask(BaseModel):
    """Texts to classify."""

    model_config = ConfigDict(extra="forbid")
    texts: Annotated[StrictStr | Several, Field(description="A text, or several.")]


class AskPairs(BaseModel):
    """Pairs of texts to classify."""

    model_config = ConfigDict(extra="forbid")
    texts: Annotated[
        list[tuple[StrictStr, StrictStr]],
        FailFast(),
        Field(description="Pairs, each of two texts."),
    ]


class Answer(BaseModel):
    """What the classifier says of one text."""

    label: str | None = Field(description="The class; null where none is sure enough to be named.")
    probabilities: dict[str, float] = Field(description="Of each class, by name.")
    depth: int | None = Field(None, description="Layers that it was seen by, if texts leave early.")
    classes: list[str] | None = Field(None, description="The classes of its set, with --sets.")


class Answers(BaseModel):
    """An answer a text, in the order of the texts."""

    predictions: list[Answer]


class Fault(BaseModel):
    """Why there is no answer."""

    detail: str


class Health(BaseModel):
    """How the server does."""

    status: str
    labels: list[str] = Field(description="The classes.")
    waiting: int = Field(description="Texts that wait in the process that answers.")


#: What a request may hold, for who has sent something else.
_TEXTS = '{"texts": "one"} or {"texts": ["one", "two"]}'
_PAIRS = '{"texts": [["a first", "a second"]]}, a list of pairs of texts,'

_FAULTS: dict[int | str, dict[str, Any]] = {
    400: {"model": Fault, "description": "The body is no JSON."},
    413: {"model": Fault, "description": "The body is too long."},
    422: {"model": Fault, "description": "The texts cannot be classified."},
    503: {"model": Fault, "description": "Too much waits; come again (Retry-After)."},
}


def build(classifier: Predictor, config: ServeConfig) -> FastAPI:
    """The application over an opened classifier. Raises UserError where it cannot keep promises."""
    predict = partial(
        classifier.predict,
        batch_size=config.batch_size,
        abstain_risk=config.abstain_risk,
        sets=config.sets,
    )
    first = "one text, so that the first request waits for nothing"
    predict([Pair(first, first) if classifier.pair else first])
    metrics = Metrics()
    batcher = Batcher(
        predict, most=config.batch_size, room=config.queue, done=metrics.batches.observe
    )

    @asynccontextmanager
    async def working(app: FastAPI) -> AsyncIterator[None]:
        app.state.worker = worker = asyncio.create_task(batcher.work())
        yield
        worker.cancel()
        batcher.close()

    app = FastAPIOffline(
        title="slimcls",
        version=__version__,
        description=f"Classes: {', '.join(classifier.labels)}.",
        redoc_url=None,
        lifespan=working,
    )
    app.state.example = _PAIRS if classifier.pair else _TEXTS
    app.add_middleware(Gate, most=config.max_body, metrics=metrics)
    app.add_exception_handler(RequestValidationError, _invalid)

    async def classify(ask: Ask | AskPairs) -> JSONResponse:
        """Classify a text, or several at once."""
        texts = _listed(ask)
        if fault := _fault(texts, config):
            raise HTTPException(422, fault)
        try:
            found = await batcher.ask(texts)
        except Full:
            said = f"{len(batcher)} texts wait already"
            raise HTTPException(503, said, {"Retry-After": str(RETRY)}) from None
        except UserError as error:
            raise HTTPException(422, str(error)) from None
        return JSONResponse({"predictions": [_answer(one) for one in found]})

    # What a request holds is known once the classifier is.
    classify.__annotations__["ask"] = AskPairs if classifier.pair else Ask
    app.post("/predict", response_model=Answers, responses=_FAULTS)(classify)

    @app.get("/health", response_model=Health, responses={503: {"model": Fault}})
    async def health() -> Health:
        """Whether texts are answered."""
        if app.state.worker.done():
            raise HTTPException(503, "nothing computes any more")
        return Health(status="ok", labels=classifier.labels, waiting=len(batcher))

    @app.get("/metrics", response_class=Response)
    async def measured() -> Response:
        """Counters in Prometheus' text format."""
        metrics.waiting.set(len(batcher))
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return app


def _listed(ask: Ask | AskPairs) -> list[str]:
    if isinstance(ask, AskPairs):
        return [Pair(*pair) for pair in ask.texts]
    return [ask.texts] if isinstance(ask.texts, str) else ask.texts


def _answer(one: Prediction) -> dict[str, Any]:
    said: dict[str, Any] = {"label": one.label, "probabilities": one.probabilities}
    more = {"depth": one.depth, "classes": one.classes}
    return said | {name: value for name, value in more.items() if value is not None}


def _fault(texts: list[str], config: ServeConfig) -> str:
    """Why texts are not taken; empty where they are."""
    if not 0 < len(texts) <= config.max_texts:
        return f"{len(texts)} texts; give from 1 to {config.max_texts}"
    for place, text in enumerate(texts):
        if not all(part.strip() for part in parts_of(text)):
            return f"texts[{place}] is empty{' on one side' * isinstance(text, Pair)}"
        if fault := no_utf8([text]):
            return f"texts[{place}]: {fault}"
        if len(text) > config.max_characters:
            most = config.max_characters
            return f"texts[{place}] has {len(text)} characters; the most is {most}"
    return ""


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """Where a request does not fit, without what was given: it may be what no answer can hold."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return JSONResponse({"detail": "the body is no JSON"}, 400)
    place = ".".join(str(part) for part in first["loc"][:2] if isinstance(part, str))
    said = f"send {request.app.state.example} as application/json"
    return JSONResponse({"detail": f"{place}: {first['msg']}; {said}"}, 422)
