"""Opens the features of a frozen backbone when all weights are there, before the first batch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from .._version import __version__
from ..compat.lightning import shards_weights
from ..config.sizes import parse_bytes
from ..data.cache.folder import CacheFolder
from ..data.cache.plan import default_folder
from ..data.features.field import frozen_fields
from ..errors import ConfigError, ConfigProblem
from ..learners import Learner
from ..learners.frozen_part import FrozenPart, code_of
from ..report.tasks import show_progress


class FrozenFeatures(pl.Callback):
    """Computes the features of a frozen backbone once, or finds those of an earlier run.

    They follow the weights that a checkpoint brought, on the device and in the precision of the
    run. Of the processes on a machine one computes them.

    Args:
        run: The section `run`.
    """

    def __init__(self, run: Mapping[str, Any]) -> None:
        self.run = run

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens the features of all loaders.

        Raises:
            ConfigError: If they cannot be kept, or the weights are not whole on this process.
        """
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        learner: Any = pl_module
        if not (fields := frozen_fields(data.loaders)):
            return
        part: FrozenPart = learner.frozen_part
        if shards_weights(trainer):
            expected = "the strategy divides the weights among the processes; needs null"
            raise ConfigError([ConfigProblem(part.key, part.draws, expected)])
        settings = [*part.settings(learner.networks), str(trainer.precision), __version__]
        folder = self._folder()
        for field in fields:
            try:
                field.open(
                    partial(_embed, learner, part),
                    settings,
                    code_of,
                    folder,
                    device=learner.device,
                    processes=data.cpus,
                    progress=show_progress,
                )
            except OSError as error:
                expected = f"features cannot be kept in {folder.path}: {error}"
                problem = ConfigProblem("run.cache_dir", self.run["cache_dir"], expected)
                raise ConfigError([problem]) from error

    def _folder(self) -> CacheFolder:
        given = self.run["cache_dir"]
        path = Path(given) if given else default_folder()
        if path is None:
            expected = "there is no home folder to keep features in; give one"
            raise ConfigError([ConfigProblem("run.cache_dir", None, expected)])
        return CacheFolder(path, parse_bytes(self.run["cache_limit"]))


@torch.no_grad()
def _embed(learner: Learner, part: FrozenPart, values: Any) -> Tensor:
    features: Tensor = learner.through_strategy(part.backbone(learner.networks), values)
    return features
