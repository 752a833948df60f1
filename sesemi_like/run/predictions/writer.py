"""Writes predictions in parts as they come, and joins the parts once all are there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from ...data.loading.parts import LoaderParts
from ...data.loading.row_parts import PartBatches, RowParts
from ...data.progress import Advance
from ...data.samples import Samples
from ...distributed import gather_objects, rank, world_size
from ...errors import ConfigError, ConfigProblem
from ...learners import Learner
from ...learners.predicted import Columns, Labelled
from ...locks import Claim, is_claimed
from ...trees import to_device
from .fingerprint import fingerprint
from .formats import Format, Part
from .store import PartStore

log = logging.getLogger(__name__)

Choose = Callable[[Mapping[str, Any]], Columns]
"""Makes the columns of a batch of its outputs."""


class PredictionWriter(pl.Callback):
    """Shares out the parts that are missing, writes each, and joins all of them at the end.

    Parts lie in a folder of a name that depends on all that the predictions do. What was finished
    when a run was killed is therefore found by the next one, and by no other.

    Args:
        learner: What predicts.
        loader: The parts of the loader of what is predicted.
        choose: Makes the columns of a batch.
        settings: `run.predict`, and what else decides on the content of the file.
        form: The format of the file.
        target: The file or folder that the predictions become; only the first process writes it.
        home: Where the folder of the parts is.
        advance: Called with the number of rows that have been predicted since its last call.
    """

    def __init__(
        self,
        learner: Learner,
        loader: LoaderParts,
        choose: Choose,
        *,
        settings: Mapping[str, Any],
        form: Format,
        target: Path,
        home: Path,
        advance: Advance,
    ) -> None:
        assert isinstance(loader.dataset, Samples)
        self.learner, self.loader, self.choose, self.form = learner, loader, choose, form
        self.samples: Samples = loader.dataset
        self.settings, self.target, self.home = settings, target, home
        self.advance = advance
        self.parts = RowParts.of(len(self.samples), loader.batch_size, settings["rows_per_part"])
        self._store = PartStore(home)
        self._claim: Claim | None = None
        self._own: list[int] = []
        self._batches: list[tuple[Tensor, Columns]] = []

    def batches(self) -> PartBatches:
        """This process's batches: those of the parts that are dealt to it of all unfinished ones.

        Raises:
            ConfigError: If another run is making the same predictions.
        """
        identity = fingerprint(self.learner, self.loader, self.settings)
        # The first process decides for all: parts appear while the others are still looking.
        folder, missing = gather_objects(self._missing(identity) if rank() == 0 else None)[0] or (
            self.home,
            None,
        )
        if missing is None:
            expected = "another run of this id is making the same predictions; wait until it ends"
            raise ConfigError([ConfigProblem("run.id", self.home.name, expected)])
        self._store = PartStore(folder)
        shares = [missing[process :: world_size()] for process in range(world_size())]
        self._own = shares[rank()]
        self.advance(len(self.samples) - sum(len(self.parts.rows(part)) for part in missing))
        most = max(sum(map(self.parts.num_batches, share)) for share in shares)
        # Without a batch Lightning would not call on_predict_end, which joins the parts.
        return PartBatches(self.parts, tuple(self._own), max(1, most))

    def _missing(self, identity: str) -> tuple[Path, list[int] | None]:
        """The folder of the parts and those that are missing; None where another run makes them."""
        folder = self.home / f".predictions-{identity}"
        folder.mkdir(parents=True, exist_ok=True)
        if is_claimed(folder):
            return folder, None
        self._claim = Claim(folder, of_forked=False)
        finished = PartStore(folder).finished()
        if finished:
            log.info("%d of %d parts of the predictions are there", len(finished), len(self.parts))
        return folder, [number for number in range(len(self.parts)) if number not in finished]

    def on_predict_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Keeps what was predicted, and writes the part if that was its last batch."""
        if not self._own:
            return  # computed only because the other processes compute as much
        columns = to_device(self.choose(outputs), "cpu")
        self.advance(len(batch["index"]) * world_size())  # the others are about as far
        self._batches.append((batch["index"].cpu(), columns))
        part = self._own[0]
        if len(self._batches) == self.parts.num_batches(part):
            batches, self._batches = self._batches, []
            self._own.pop(0)
            self._store.write(part, self.form.encode(self._joined(part, batches)))

    def _joined(self, number: int, batches: list[tuple[Tensor, Columns]]) -> Part:
        """The rows of a part, without those that were read in the place of unreadable ones."""
        expected = self.samples.positions[np.array(self.parts.rows(number))]
        index = torch.cat([index for index, _ in batches]).numpy()
        rows = np.flatnonzero(index == expected)
        columns = {name: _select([c[name] for _, c in batches], rows) for name in batches[0][1]}
        return Part(index[rows], self.samples.names_at(index[rows].tolist()), columns)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Joins the parts once every process has written its own."""
        gather_objects(None)  # until all have
        if trainer.is_global_zero:
            finished = self._store.finished()
            paths = [finished[number] for number in range(len(self.parts))]
            self.form.merge(paths, self.target)
            if self._claim is not None:
                self._claim.release()
            self._store.remove()
            log.info("predictions of %d rows: %s", len(self.samples), self.target)


def _select(values: list[Any], rows: Any) -> Any:
    """Some rows of a column that comes in batches."""
    if isinstance(values[0], Labelled):
        chosen = _select([value.values for value in values], rows)
        return Labelled(chosen, values[0].labels)
    if isinstance(values[0], Tensor):
        return torch.cat(values)[torch.from_numpy(rows)]
    listed = [value for batch in values for value in batch]
    return [listed[row] for row in rows.tolist()]
