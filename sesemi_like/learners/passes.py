"""Full passes over the data of train loaders, which loss heads ask for between epochs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import torch

from ..errors import ConfigProblem, suggest
from .terms import LossTerm

if TYPE_CHECKING:
    from .base import Learner

_TRAIN = "train."


class FullPasses:
    """Predicts at the beginning of an epoch what heads ask for, and hands it to them.

    Attributes:
        last_epoch: The last epoch whose passes were made, which a run that is resumed within that
            epoch does not repeat; None before the first.
    """

    def __init__(self) -> None:
        self.last_epoch: int | None = None

    def run(self, learner: Learner, epoch: int) -> None:
        """Makes the passes of an epoch, unless they were made before; all processes call it.

        Args:
            learner: The learner, within a run.
            epoch: The epochs completed so far.
        """
        if epoch == self.last_epoch:
            return
        for loader, terms in _due(learner.terms, epoch).items():
            needs = {output for term in terms for output in term.head.needs}
            predictions = learner.predict_loader(loader, needs)
            with torch.no_grad():
                for term in terms:
                    term.head.receive(loader, predictions)
        self.last_epoch = epoch


def _due(terms: Mapping[str, LossTerm], epoch: int) -> dict[str, list[LossTerm]]:
    """The terms whose heads want a pass at the beginning of an epoch, by loader."""
    due: dict[str, list[LossTerm]] = {}
    for term in terms.values():
        for loader, every in term.head.passes().items():
            if epoch % every == 0:
                due.setdefault(loader, []).append(term)
    return due


def pass_problems(
    terms: Mapping[str, LossTerm], rows: Mapping[str, int | None], fields: Collection[str]
) -> list[ConfigProblem]:
    """Finds passes that cannot be made.

    Args:
        terms: The loss terms.
        rows: Samples of every loader, see `DataFacts`; empty where nothing is known of the data.
        fields: The train loaders that a step draws from.
    """
    loaders = {name.removeprefix(_TRAIN) for name in rows if name.startswith(_TRAIN)} | {*fields}
    return [
        ConfigProblem(f"{term.key}.passes", f"{loader}: {every}", expected)
        for term in terms.values()
        for loader, every in term.head.passes().items()
        if (expected := _expected(loader, every, loaders, rows))
    ]


def _expected(
    loader: str, every: object, loaders: Collection[str], rows: Mapping[str, int | None]
) -> str | None:
    """What would be right in place of a pass that cannot be made."""
    if not isinstance(every, int) or every < 1:
        return "the epochs from one pass to the next are a number of at least 1"
    if loader not in loaders:
        return f"there is no train loader {loader!r}; {suggest(loader, loaders, noun='loaders')}"
    if rows.get(f"{_TRAIN}{loader}", 0) is None:
        return "a stream of unknown length cannot be predicted in full"
    return None
