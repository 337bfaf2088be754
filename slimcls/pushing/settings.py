"""PushConfig: what goes where on the hub, and who may see it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from slimcls import cli
from slimcls.errors import UserError, in_short
from slimcls.storage.paths import PathName

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]+)*|multilingual|code")
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")


@dataclass(kw_only=True)
class PushConfig:
    """Push a finished classifier to the Hugging Face hub, in one commit."""

    run: PathName
    """Run directory, the model folder in it, or a folder of slimcls export."""

    repo: str
    """Where on the hub, as ORG/NAME; made where it is not there, private unless --public."""

    public: bool = False
    """Everybody may see it; else only you or your organisation."""

    show_texts: bool = False
    """Go public although parts of training texts are in the classifier: the demonstrations of its
    prompt, or the words of TF-IDF."""

    license: str | None = None
    """Licence of the card, as apache-2.0; the base model's if not given."""

    language: str | None = None
    """Language of the texts, as en or en,de; what the dataset's card says if not given."""

    message: str | None = None
    """Title of the commit."""

    def __post_init__(self) -> None:
        cli.keep_plain(self)
        _check_repo(self.repo)
        if self.license is not None and not _LICENCE.fullmatch(self.license):
            raise UserError(
                f"--license {in_short(self.license)}: must be a licence as the hub writes it, such "
                "as apache-2.0, mit, cc-by-4.0 or other"
            )
        for language in self.languages:
            if not _LANGUAGE.fullmatch(language):
                raise UserError(
                    f"--language {in_short(language)}: must be a code of ISO 639, such as en or de"
                )
        if self.message is not None and not self.message.strip():
            raise UserError("--message: is empty; give a title, or leave it out")
        if self.show_texts and not self.public:
            raise UserError("--show-texts: only with --public; private ones are shown to nobody")

    @property
    def languages(self) -> list[str]:
        """Codes of the languages that were given."""
        return [one.strip() for one in self.language.split(",")] if self.language else []


def _check_repo(repo: str) -> None:
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise UserError(
            f"{in_short(repo)}: must be ORG/NAME, your user name or an organisation and a name, as "
            "in me/tickets"
        )
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]{0,95}", repo) or re.search(
        r"--|\.\.|[-.](/|$)|\.git$", repo
    ):
        raise UserError(
            f"{in_short(repo)}: no name that the hub takes: letters, digits, '-', '_' and '.', "
            "none of '--' and '..', no '-' or '.' at an end, 96 letters at most"
        )
