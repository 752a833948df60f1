"""The data module: the named loaders of a run, and the views of their batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig
from torch.utils.data import DataLoader, Sampler

from ..config.check import named_loaders
from ..config.instantiate import plain
from ..errors import Problems
from .batches import Batch
from .checks.labels import class_problems
from .checks.warnings import data_warnings
from .loading.evaluated import batches_in_order, is_loaded
from .loading.keys import EVALUATED, PREDICT, TRAIN
from .loading.named_loaders import NamedLoaders
from .loading.parts import LoaderParts, PartsBuilder, set_workers, step_fields
from .loading.row_parts import LoadedBatches
from .loading.samplers import Rows
from .loading.workers import usable_cpus
from .progress import Progress, log_task
from .run_labels import Datasets, RunLabels, trains_on_labels
from .samples import Samples
from .streams import StreamedSamples

log = logging.getLogger(__name__)


class DataModule(pl.LightningDataModule):
    """Builds the loaders of a config and computes the views of their batches.

    Args:
        data: The section `data`.
        run: The section `run`.
        world_size: Processes over all nodes.
        seed: The run's seed.
        splits: The parts of `data` that are loaded: ``train``, ``val``, ``test``, ``evaluation``,
            ``predict``.
        read: The fields that are read, by the names of the train loaders that anything reads, and
            of those of evaluation: the others are not loaded. None where that is not known: all
            are.
        labeled_loader: The train loader whose classes are those of the run, if several of those
            whose labels are trained on have some; None is the first in the config.

    Attributes:
        loaders: What every loader is made of, by split and name: ``train.<loader name>``, ``val``,
            ``test``, ``evaluation.<loader name>`` and ``predict``.
        iterations_per_epoch: Steps of an epoch; None where that is not known.
        predicted_batches: Names the batches that this process predicts, once all processes have
            been joined; None where nothing is predicted.

    Raises:
        ConfigError: With every mistake found in all loaders.
    """

    def __init__(
        self,
        data: DictConfig,
        run: DictConfig,
        *,
        world_size: int,
        seed: int,
        splits: Collection[str] = ("train", *EVALUATED, "evaluation"),
        read: Mapping[str, Collection[str]] | None = None,
        labeled_loader: str | None = None,
    ) -> None:
        super().__init__()
        self.world_size, self.seed = world_size, seed
        self.read, self.labeled_loader = read, labeled_loader
        self.predicted_batches: Callable[[], Sampler[Rows]] | None = None
        self.loaders: dict[str, LoaderParts] = {}
        builder = PartsBuilder(run, world_size=world_size, seed=seed)
        problems = Problems()
        for key, config in named_loaders(data):
            name = key.removeprefix("data.")
            if is_loaded(name, splits, read):
                with problems.collecting():
                    self.loaders[name] = builder.build(name, plain(config))
        if not problems.under("data.train"):  # what could not be built may have the classes
            problems.problems += class_problems(self._labels(builder.datasets))
        problems.raise_if_any()
        for warning in data_warnings(self.loaders, self.labels):
            log.warning("%s", warning)
        self.cpus = usable_cpus(builder.processes)
        set_workers(self.loaders, self.loaders, self.cpus)
        self.iterations_per_epoch = self.train_dataloader().length if self._train else None

    def decode(self, progress: Progress = log_task) -> None:
        """Decodes what is to be kept decoded, which may take minutes: when all else is right.

        Args:
            progress: Shows how many images have been decoded.

        Raises:
            ConfigError: If it cannot be kept where it should, or images cannot be read.
        """
        problems, not_kept = Problems(), []
        for name, loader in self.loaders.items():
            with problems.collecting():
                not_kept += [name] if loader.decode(self.cpus, progress) else []
        problems.raise_if_any()
        # Where `auto` found no place after all, workers have to decode.
        set_workers(self.loaders, not_kept, self.cpus)

    @property
    def datasets(self) -> dict[str, Samples | StreamedSamples]:
        """The data sets by split and name."""
        return {name: loader.dataset for name, loader in self.loaders.items()}

    @property
    def sample_batches(self) -> dict[str, Batch]:
        """Two samples of every loader with all their views, as a step would see them."""
        return {name: loader.sample_batch for name, loader in self.loaders.items()}

    @property
    def labels(self) -> RunLabels:
        """What is known of the labels of all data sets."""
        return self._labels(self.datasets)

    def _labels(self, datasets: Datasets) -> RunLabels:
        return RunLabels(datasets, self.trained, self.labeled_loader)

    @cached_property  # asking builds collations, and classes are asked for throughout a run
    def trained(self) -> list[str]:
        """The train loaders, as users name them, whose labels are trained on."""
        return [
            name
            for name, loader in self._train.items()
            if trains_on_labels(loader.name, loader.config, self.read and self.read[name])
        ]

    @property
    def _train(self) -> dict[str, LoaderParts]:
        """The train loaders that a step draws from; those that evaluators alone read are none."""
        train = {n.removeprefix(TRAIN): p for n, p in self.loaders.items() if n.startswith(TRAIN)}
        return {name: p for name, p in train.items() if self.read is None or self.read[name]}

    @property
    def fields(self) -> dict[str, set[str]]:
        """The field names of every train loader, views included."""
        return {name: set(loader.sample_batch) for name, loader in self._train.items()}

    @property
    def rows_per_step(self) -> int:
        """Samples that a step of this process draws from all train loaders."""
        return sum(loader.batch_size for loader in self._train.values())

    def first_step(self) -> Batch:
        """Two samples of every train loader with all their views, as one flat step."""
        return {
            f"{name}.{field}": value
            for name, loader in self._train.items()
            for field, value in loader.sample_batch.items()
        }

    def keep(self, fields: Collection[str]) -> None:
        """Computes only what is needed from now on, and the `index` of each row.

        Args:
            fields: Full names such as ``unlabeled.weak``; other views are not computed and other
                fields are dropped.
        """
        for name, loader in self._train.items():
            own = {f.removeprefix(f"{name}.") for f in fields if f.startswith(f"{name}.")}
            loader.views.keep({*own, "index"})  # names the rows of a batch

    def names_of(self, name: str, positions: Iterable[int]) -> list[str]:
        """The names of a train loader's samples, of streamed ones their numbers.

        Args:
            name: The loader.
            positions: Values of its field `index`.
        """
        return self.loaders[TRAIN + name].dataset.names_at(positions)

    def train_dataloader(self) -> NamedLoaders:
        """The train loaders as one iterable of ``{loader name: batch}``."""
        loaders = {name: self._build(loader) for name, loader in self._train.items()}
        return NamedLoaders(loaders, self._epoch)

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """The validation loader, or none."""
        return self._build(self.loaders["val"]) if "val" in self.loaders else []

    def test_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """The test loader, or none."""
        return self._build(self.loaders["test"]) if "test" in self.loaders else []

    def predict_dataloader(self) -> LoadedBatches | list[Any]:
        """The loader of what is predicted, or none."""
        if PREDICT not in self.loaders or self.predicted_batches is None:
            return []
        batches = self.predicted_batches()
        return LoadedBatches(self.loaders[PREDICT].build_batches(batches))

    def evaluation_loader(self, name: str, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:
        """Batches of a loader's data in file order and un-augmented, as validation would see them.

        Args:
            name: The loader as users name it: one of training or of evaluation.
            rank: The number of this process among those that share the data.
            world_size: Their number; where it is above 1, some rows may come twice.

        Raises:
            KeyError: If there is no such loader.
        """
        share = {"rank": rank, "world_size": world_size}
        return batches_in_order(self.loaders, name, seed=self.seed, **share)

    def state_dict(self) -> dict[str, int]:
        """What a checkpoint notes of the data: the run's seed."""
        return {"seed": self.seed}

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Computes the views; a training batch becomes one flat ``{loader.field: tensor}``."""
        share = self._rank, self.world_size
        if self.trainer is None or not self.trainer.training:
            name = self._evaluated
            # What is predicted does not depend on the number of processes.
            share = (0, 1) if name == PREDICT else share
            return self.loaders[name].views.apply(batch, share=share)
        number = self.trainer.fit_loop.total_batch_idx + 1  # that of the batch before
        return step_fields(self.loaders, batch, number, share)

    @property
    def _evaluated(self) -> str:
        """The loader that Lightning evaluates now."""
        if self.trainer and self.trainer.predicting:
            return PREDICT
        return "test" if self.trainer and self.trainer.testing else "val"

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    def _epoch(self) -> int:
        # To overfit some batches is to see the same ones in every epoch.
        if self.trainer is None or getattr(self.trainer, "overfit_batches", False):
            return 0
        return self.trainer.current_epoch

    def _build(self, loader: LoaderParts) -> DataLoader[Batch]:
        return loader.build(self.seed, self._rank, self.world_size)
