"""Makes a run's model folder leave early: chooses, gathers the exits' own weights, writes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from slimcls.backbones.families import SCORE, block_pattern, family_of
from slimcls.backbones.saved import saved_weights
from slimcls.backbones.truncate import config_in
from slimcls.backbones.weights import Weights
from slimcls.cascading.choosing import Chosen, Outcome, Scores, choose, least_risk
from slimcls.cascading.family import Exits
from slimcls.cascading.telling import with_section
from slimcls.classifier.cascade import EXITS_FILE
from slimcls.classifier.description import CASCADE, DESCRIPTION
from slimcls.classifier.early import EarlyRule
from slimcls.errors import UserError
from slimcls.storage.files import replacing, write_text
from slimcls.storage.hashes import sha256_of


@dataclass(frozen=True)
class Made:
    """What leaving early does: on the validation texts, which chose it, and on the test texts."""

    folder: Path
    """The model folder."""
    rule: EarlyRule
    validation: Outcome
    scores: Scores
    """Of the validation texts."""
    test: Outcome | None
    """None without test texts."""


def make(exits: Exits, risk: float) -> Made:
    """Choose, and write into the model folder of the deepest run; ``risk`` is a share.

    A folder that leaves early already gets the new threshold.

    Raises UserError where the risk cannot be shown, or where the runs are not of one training.
    """
    folder, scores = exits.models()[-1], exits.validation()
    chosen = _chosen(exits, scores, risk)
    tensors = own_weights(exits)
    with replacing(folder / EXITS_FILE) as temporary:
        temporary.write_bytes(save(tensors))
    rule = _rule(chosen, scores, risk, sha256_of(folder / EXITS_FILE))
    given = exits.test()
    made = Made(folder, rule, chosen.outcome, scores, _on_test(chosen, given))
    # Until the description names them, the exits' weights are a file that nobody reads.
    description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    description[CASCADE] = rule.as_json()
    write_text(folder / DESCRIPTION, json.dumps(description, indent=1, ensure_ascii=False))
    card = folder / "README.md"
    before = card.read_text(encoding="utf-8") if card.is_file() else ""
    write_text(card, with_section(before, made.rule, made.test))
    return made


def _chosen(exits: Exits, scores: Scores, risk: float) -> Chosen:
    chosen = choose(scores, risk)
    if chosen is None:
        least = least_risk(scores)
        can = "nothing" if least is None else f"{100 * least:.1f} or more"
        raise UserError(
            f"--risk {100 * risk:g}: the {len(scores.labels)} validation texts of "
            f"{exits.runs[-1].folder} show {can}; allow as much, or train with more "
            "validation texts (a tenth of one's own file, at most --validation-size)"
        )
    return chosen


def _rule(chosen: Chosen, scores: Scores, risk: float, sha256: str) -> EarlyRule:
    ends = chosen.outcome.ends
    return EarlyRule(
        depths=scores.depths,
        temperatures=chosen.temperatures,
        threshold=chosen.threshold,
        risk=risk,
        texts=tuple(int((ends == end).sum()) for end in range(len(scores.depths))),
        bound=chosen.outcome.bound(),
        sha256=sha256,
        confidence=chosen.outcome.confidence,
    )


def _on_test(chosen: Chosen, scores: Scores | None) -> Outcome | None:
    # The probabilities that a run keeps of its test texts have its temperature in them.
    tempered = Chosen((1.0,) * len(chosen.temperatures), chosen.threshold, chosen.outcome)
    return None if scores is None else tempered.on(scores)


def own_weights(exits: Exits) -> dict[str, Tensor]:
    """Norms and heads of the exits above the end, by number and place, in float32.

    All else of each exit's model is a part of the deepest one's, to the last bit. Raises UserError
    where it is not: then an exit would answer other than its own run.
    """
    *above, deepest = exits.models()
    config = config_in(deepest, str(deepest))
    family = family_of(config)
    norm = re.compile(rf"(?:^|\.){re.escape(family.final_norm)}\.(.+)$")
    blocks, found = block_pattern(family), {}
    with saved_weights(deepest) as whole:
        for number, folder in enumerate(above):
            with saved_weights(folder) as cut:
                for name in cut.shapes:
                    match = None if blocks.search(name) else norm.search(name)
                    if match:
                        found[f"{number}.norm.{match[1]}"] = cut.read(name, torch.float32)
                    elif name == SCORE:
                        found[f"{number}.{SCORE}"] = cut.read(name, torch.float32)
                    elif not _same(whole, cut, name):
                        raise UserError(
                            f"{folder}: {name} is not as in {deepest}; the two are not of one "
                            "training: train both anew with --overwrite"
                        )
    return found


def _same(whole: Weights, cut: Weights, name: str) -> bool:
    if whole.shapes.get(name) != cut.shapes[name]:
        return False
    return torch.equal(whole.read(name, torch.float32), cut.read(name, torch.float32))
