"""One exported folder after the other, each held against the run: fewer tokens, then fewer bits."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimcls.classifier.classifier import Classifier
from slimcls.classifier.description import task_of
from slimcls.classifier.prediction import Predictor
from slimcls.errors import UserError
from slimcls.exporting.bits import Quantised
from slimcls.exporting.folder import Export, Graph, Plain
from slimcls.exporting.parity import Compared, Outcome, check_tokens, odd_texts
from slimcls.exporting.retuning import retuned
from slimcls.exporting.settings import ExportConfig
from slimcls.exporting.trimming import Trimmed, Trimmer, counted_texts, fewest
from slimcls.kinds import WHOLE
from slimcls.session.again import Drawn

#: Bits at which numbers can share scales by columns or by groups.
GROUPS_AT = 8


@dataclass(frozen=True)
class Made:
    """A folder with model and tokenizer, and what they say of the validation texts."""

    export: Export
    exported: Predictor
    """As its files have it."""
    trimmed: Trimmed | None
    quantised: Quantised | None
    outcome: Outcome | None
    """None without validation texts."""
    validation: Compared | None


class Maker:
    """Makes folders of a run.

    ``drawn`` are the run's data and items; None where they cannot be had, which only an export
    with all tokens does without.
    """

    def __init__(
        self,
        run: Classifier,
        description: dict[str, Any],
        config: ExportConfig,
        drawn: Drawn | None,
    ) -> None:
        self.run, self.config = run, config
        self._description, self._drawn = description, drawn
        self.items = drawn.splits.validation if drawn else ()
        self._texts = [item.text for item in self.items]

    def make(self, folder: Path) -> Made:
        """Fill a folder as asked.

        Raises UserError where the model cannot be exported, or more labels differ than may.
        """
        if self.config.vocabulary is None:
            found = self._written(folder, self.run, self._description, None)
        else:
            assert self._drawn is not None
            counted = counted_texts(self._drawn, self.config.unlabelled)
            trimmer = Trimmer(self.run, task_of(self._description), counted)
            if self.config.vocabulary == "auto":
                return self._fewest(folder, trimmer)
            found = self._trimmed(folder, trimmer, self.config.vocabulary)
        if not self._fits(found):
            raise self._refusal(found, self.config.changes or f"--bits {self.config.bits}")
        return found

    def _fewest(self, folder: Path, trimmer: Trimmer) -> Made:
        """The folder with the fewest tokens that fits, of those that are tried on the way."""
        made: dict[int, Made] = {}

        def fits(tokens: int) -> bool:
            made[tokens] = self._trimmed(folder / str(tokens), trimmer, tokens)
            return self._fits(made[tokens])

        sizes = list(trimmer.sizes())
        least = fewest(sizes, fits)
        if least is None:
            raise self._refusal(made[sizes[-1]], f"{self.config.changes}, {sizes[-1]:,} tokens")
        best = made[least]
        for file in (folder / str(least)).iterdir():
            file.replace(folder / file.name)
        for tokens in made:
            shutil.rmtree(folder / str(tokens))
        best.export.folder = folder
        assert best.trimmed is not None
        shares = {tokens: one.validation.share for tokens, one in made.items() if one.validation}
        tried = dict(sorted(shares.items()))
        return dataclasses.replace(best, trimmed=dataclasses.replace(best.trimmed, tried=tried))

    def _trimmed(self, folder: Path, trimmer: Trimmer, tokens: int) -> Made:
        """A folder with so many tokens at most, whatever it changes."""
        folder.mkdir(exist_ok=True)
        classifier, epochs = trimmer.classifier(tokens), self.config.retune
        if epochs:
            assert self._drawn is not None
            classifier = retuned(
                classifier,
                self.run,
                trimmer.texts,
                self._drawn,
                epochs=epochs,
                scratch=folder / "retuning",
            )
        trimmed = trimmer.report(classifier, self._texts, epochs)
        said = self._description | {"trimmed": {"tokens": trimmed.tokens, "of": trimmed.of}}
        # Those of the run's vocabulary would be other words' here.
        said.pop("label_word_ids", None)
        if label_ids := getattr(classifier.encoder, "label_ids", None):
            said["label_word_ids"] = label_ids
        return self._written(folder, classifier, said, trimmed)

    def _written(
        self,
        folder: Path,
        classifier: Classifier,
        description: dict[str, Any],
        trimmed: Trimmed | None,
    ) -> Made:
        """The model in its format, checked before it is put into fewer bits."""
        kind = Graph if self.config.to == "onnx" else Plain
        made = kind(classifier, description, folder)
        exported = made.opened()
        odd = odd_texts(classifier)
        check_tokens(classifier, exported, [*odd, *self._texts])
        Outcome(classifier, exported, odd).check_graph()
        if self.config.bits != WHOLE:
            assert isinstance(made, Graph)
            return self._in_fewer_bits(made, exported, trimmed)
        return self._held(made, exported, trimmed, None)

    def _in_fewer_bits(self, made: Graph, whole: Predictor, trimmed: Trimmed | None) -> Made:
        """In the quickest way; at 8 bits in groups where that changes too many labels.

        ``whole`` is the classifier in 32 bits: where it changes too many itself, by the tokens that
        were left out, no bits help.
        """
        bits = self.config.bits
        quantised = made.to_bits(bits)
        found = self._held(made, made.opened(), trimmed, quantised)
        too_many = bits == GROUPS_AT and found.validation and not self._fits(found)
        if too_many and trimmed:
            too_many = self._fits(self._held(made, whole, trimmed, None))
        if too_many:
            assert found.validation is not None
            share = found.validation.share
            quantised = dataclasses.replace(
                made.to_bits(bits, grouped=True), share_by_columns=share
            )
            found = self._held(made, made.opened(), trimmed, quantised)
        made.forget_whole()
        return found

    def _held(
        self,
        made: Export,
        exported: Predictor,
        trimmed: Trimmed | None,
        quantised: Quantised | None,
    ) -> Made:
        """What it says of the validation texts, beside the run."""
        # An interval takes two.
        outcome = Outcome(self.run, exported, self._texts) if len(self._texts) > 1 else None
        compared = outcome.compared() if outcome else None
        return Made(made, exported, trimmed, quantised, outcome, compared)

    def _fits(self, found: Made) -> bool:
        return found.validation is None or found.validation.share <= self.config.tolerate

    def _refusal(self, found: Made, what: str) -> UserError:
        seen = found.validation
        assert seen is not None
        return UserError(
            f"{what}: {seen.labels_differ} of {seen.texts} validation texts get another label "
            f"({seen.share:.1f} %), more than --tolerate {self.config.tolerate:g}; take away less, "
            "or tolerate more"
        )
