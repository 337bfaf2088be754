"""One commit to the hub: all files of a classifier, or none."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimcls.backbones.quiet import hub_bars_on_terminals
from slimcls.classifier.description import DESCRIPTION
from slimcls.classifier.from_hub import is_part
from slimcls.errors import UserError
from slimcls.pushing.parcel import Parcel
from slimcls.pushing.settings import PushConfig
from slimcls.storage.network import endpoint, out_of_reach

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

LOG_IN = "log in with `hf auth login` or set HF_TOKEN"
#: What the hub puts into a repository by itself.
_ITS_OWN = (".gitattributes",)


@dataclass(frozen=True)
class Sent:
    """What is on the hub now."""

    url: str
    commit: str
    private: bool
    new: bool
    """Whether there was no such repository before."""
    unchanged: bool = False
    """Whether all of it was there already."""


def find_token() -> str:
    """The user's token of the hub. Raises UserError where there is none, or no network."""
    from huggingface_hub import get_token

    if why := out_of_reach():
        raise UserError(f"the hub cannot be reached: {why}; nothing was sent")
    token = get_token()
    if not token:
        raise UserError(
            f"nobody is logged in to {endpoint()}; {LOG_IN}, with a token that may write"
        )
    return token


def look(config: PushConfig, token: str) -> ModelInfo | None:
    """The repository as it is, or None where there is none; nothing is changed.

    Raises UserError where it holds something else, or is seen by others than this push says.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    with _said(config.repo):
        try:
            info = HfApi(token=token).model_info(config.repo)
        except RepositoryNotFoundError:
            return None
    names = {file.rfilename for file in info.siblings or ()} - set(_ITS_OWN)
    if names and DESCRIPTION not in names:
        raise UserError(
            f"{config.repo}: is there and holds something else than a classifier of slimcls; name "
            "another"
        )
    if info.private and config.public:
        raise UserError(
            f"{config.repo}: is there and private; leave out --public, or make it public at "
            f"{endpoint()}/{config.repo}/settings first"
        )
    if not info.private and not config.public:
        raise UserError(f"{config.repo}: is there and public; --public says that you mean that")
    return info


def send(config: PushConfig, parcel: Parcel, there: ModelInfo | None, token: str) -> Sent:
    """Commit all files at once; parts of an earlier push that are no more are deleted with it.

    Large files are uploaded first and are seen by nobody before the commit. The commit is refused
    where another came between.

    Raises UserError where the hub refuses or is lost; nothing has changed then but that a new
    repository may be there, empty, which is said.
    """
    from huggingface_hub import (
        CommitOperationAdd,
        CommitOperationCopy,
        CommitOperationDelete,
        HfApi,
    )

    api = HfApi(token=token)
    if there is None:
        with _said(config.repo):
            api.create_repo(config.repo, private=not config.public)
    gone = [
        file.rfilename
        for file in (there.siblings or () if there else ())
        if is_part(file.rfilename) and file.rfilename not in parcel.files
    ]
    operations: list[CommitOperationAdd | CommitOperationCopy | CommitOperationDelete] = [
        *(CommitOperationAdd(name, file) for name, file in parcel.files.items()),
        *(CommitOperationDelete(name) for name in gone),
    ]
    left = " (it was made, and is empty)" if there is None else " (it is as it was)"
    with _said(config.repo, left), hub_bars_on_terminals(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what its card could say too
        done = api.create_commit(
            config.repo,
            operations,
            commit_message=config.message or "Push with slimcls",
            parent_commit=there.sha if there else None,
        )
    return Sent(
        url=f"{endpoint()}/{config.repo}",
        commit=str(done.oid),
        private=not config.public,
        new=there is None,
        unchanged=there is not None and done.oid == there.sha,
    )


@contextmanager
def _said(repo: str, left: str = "") -> Iterator[None]:
    """What the hub or its library raises, said in a line; ``left``: what is on the hub then."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the library passes on what its own libraries raise
        raise UserError(f"{repo}: {_why(repo, error)}; nothing was published{left}") from error


def _why(repo: str, error: Exception) -> str:
    from huggingface_hub.errors import HfHubHTTPError

    while error.__cause__ is not None and not isinstance(error, HfHubHTTPError):
        if not isinstance(error.__cause__, Exception):
            break
        error = error.__cause__
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
    org = repo.partition("/")[0]
    known = {
        401: f"the hub does not take your token; {LOG_IN}",
        403: f"your token may not write to {org}; take one that may, or another ORG",
        402: f"the hub asks {org} for a payment, for private storage perhaps",
        409: "somebody else changed it meanwhile; the same command tries again",
        412: "somebody else changed it meanwhile; the same command tries again",
        413: "the hub finds it too large",
        429: "the hub has had too many requests; try again later",
    }
    if status in known:
        return known[status]
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"the hub says: {first[:160]}; the same command tries again"
