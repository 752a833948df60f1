"""The data module: named loaders, their views on the device, and what is known of the data."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import DataLoader

from ..config.check import named_loaders
from ..config.instantiate import instantiate, plain
from ..distributed import gather_objects
from ..errors import (
    ConfigError,
    ConfigProblem,
    Problems,
)
from ..views.images import as_float
from .batches import Batch
from .cache.plan import CachePlan, plan_cache
from .checks.duplicates import duplicate_warnings
from .checks.first_look import first_batch
from .checks.labels import (
    EVALUATED,
    TRAIN,
    class_problems,
    label_counts,
    label_warnings,
    labeled_loader,
    num_classes_found,
    write_label_list,
)
from .checks.unreadable import settle_unreadable
from .loading.collating import build_collation, makes_targets
from .loading.loaders import (
    NamedLoaders,
    batch_size_of,
    build_loader,
)
from .loading.seeds import batch_generator
from .loading.workers import AUTO, share_out, usable_cpus
from .progress import Progress, log_task
from .registry import dataset
from .samples import Samples, StreamedSamples

log = logging.getLogger(__name__)


class DataModule(pl.LightningDataModule):
    """Builds the loaders of a config and makes the views of their batches.

    Args:
        data: The section `data`.
        run: The section `run`.
        world_size: Processes over all nodes.
        seed: The run's seed.
        splits: The parts of `data` that are loaded: ``train``, ``val``, ``test``.
        read: The fields that are read, by the names of the train loaders that anything reads: the
            others are not loaded. None where that is not known: all are.

    Attributes:
        datasets: The data sets by split and name: ``train.<loader name>``, ``val`` and ``test``.
        sample_batches: Two samples of every loader with all their views, as a step would see them.
        cache_plans: What :meth:`decode` is going to decode, by split and name.

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
        splits: Collection[str] = ("train", *EVALUATED),
        read: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        super().__init__()
        self.run, self.world_size, self.seed = run, world_size, seed
        self.read = read
        self.configs: dict[str, Mapping[str, Any]] = {}
        self.datasets: dict[str, Samples | StreamedSamples] = {}
        self.views: dict[str, dict[str, Any]] = {}
        self.transforms: dict[str, Any] = {}
        self.batch_sizes: dict[str, int] = {}
        self.sample_batches: dict[str, Batch] = {}
        self.kept: set[str] | None = None
        self.processes = max(1, world_size // run["num_nodes"])
        self.cpus = usable_cpus(self.processes)
        self.workers: dict[str, int] = {}
        self.cache_plans: dict[str, CachePlan] = {}
        problems = Problems()
        for key, loader in named_loaders(data):
            if self._is_loaded(key.removeprefix("data."), splits):
                with problems.collecting():
                    self._add(key, plain(loader))
        if not problems.under("data.train"):  # what could not be built may have the classes
            problems.problems += class_problems(self.datasets, self._labeled_loader)
        problems.raise_if_any()
        self._warn()
        self.workers = self._shared_out_workers()
        self.iterations_per_epoch = self._named_loaders(rank=0).length if self._train else None

    def _warn(self) -> None:
        """Says what is odd: labels that are spread unevenly, and images that come twice."""
        for told in duplicate_warnings(self.datasets, [TRAIN + name for name in self.trained]):
            log.warning("%s", told)
        for name, source in self._labels_used().items():
            num_labels = self.configs[TRAIN + name]["dataset"].get("num_labels")
            for warning in label_warnings(source, num_labels, self.num_classes_found):
                log.warning("data.train.%s.dataset: %s", name, warning)

    def _is_loaded(self, name: str, splits: Collection[str]) -> bool:
        if not name.startswith(TRAIN) or self.read is None:
            return name.split(".")[0] in splits
        is_read = name.removeprefix(TRAIN) in self.read
        if "train" in splits and not is_read:
            log.info("data.%s is not loaded: no loss head or evaluator reads it", name)
        return is_read

    def _add(self, key: str, loader: Mapping[str, Any]) -> None:
        """Builds one loader's parts, and tries them on its first samples."""
        name = key.removeprefix("data.")
        problems = Problems()
        self.configs[name] = loader
        with problems.collecting():
            self.batch_sizes[name] = batch_size_of(
                loader, key, self.run["batch_size_per_gpu"], self.world_size
            )
        with problems.collecting():
            self.views[name] = {
                view: instantiate(config, key=f"{key}.views.{view}")
                for view, config in (loader.get("views") or {}).items()
            }
        with problems.collecting(), _told_at(f"{key}.dataset"):
            self.datasets[name] = self._dataset(name, loader["dataset"])
        problems.raise_if_any()
        self.sample_batches[name] = first_batch(
            self.datasets[name], loader, key, partial(self._with_views, name)
        )
        self.workers[name] = 0
        self._loader(name, rank=0)

    def _dataset(self, name: str, config: Mapping[str, Any]) -> Samples | StreamedSamples:
        settings = dict(config)
        key = f"data.{name}.dataset.image_transform"
        transform = instantiate(settings.pop("image_transform", None), key=key)
        self.transforms[name] = transform
        root = str(settings.pop("root", None) or "")
        is_url = root.startswith(("http://", "https://"))
        settings["root"] = root if is_url else str(Path(self.run["data_root"] or ".") / root)
        kind, side = settings.pop("cache", "auto"), settings.pop("cache_side", None)
        folder = Path(self.run["cache_dir"]) if self.run["cache_dir"] else None
        built = dataset(image_transform=transform, **settings)
        plan = plan_cache(built, kind, side=side, folder=folder, processes=self.processes)
        if plan is not None:
            self.cache_plans[name] = plan
        return built

    def decode(self, progress: Progress = log_task) -> None:
        """Decodes what is to be kept decoded, which may take minutes: when all else is right.

        Args:
            progress: Shows how many images have been decoded.

        Raises:
            ConfigError: If it cannot be kept where it should, or images cannot be read.
        """
        plans, self.cache_plans = self.cache_plans, {}
        problems = Problems()
        for name, source in self.datasets.items():
            plan, key = plans.get(name), f"data.{name}"
            with problems.collecting(), _told_at(f"{key}.dataset"):
                self.datasets[name] = plan.build(self.cpus, progress) if plan else source
                settle_unreadable(self.datasets[name], key, plan.folder if plan else None)
        problems.raise_if_any()
        # Where `auto` found no place after all, workers have to decode.
        shares = self._shared_out_workers()
        self.workers |= {n: shares[n] for n, p in plans.items() if self.datasets[n] is p.samples}

    def _shared_out_workers(self) -> dict[str, int]:
        asked = {name: config.get("num_workers", AUTO) for name, config in self.configs.items()}
        looks_up = {name: self._looks_up(name) for name in self.datasets}
        return share_out(asked, self.batch_sizes, looks_up, self.cpus)

    def _looks_up(self, name: str) -> bool:
        """Whether a loader's samples are only looked up, or will be when they are decoded."""
        if name in self.cache_plans:
            return self.cache_plans[name].looks_up
        source = self.datasets[name]
        return isinstance(source, Samples) and source.reads_batches

    def expect_classes(self, num_classes: int) -> None:
        """Refuses labels that are read with their samples and are none of these classes.

        Args:
            num_classes: How many classes the learner tells apart.
        """
        for name in (*(TRAIN + name for name in self.trained), *EVALUATED):
            if name in self.datasets:
                self.datasets[name].num_classes = num_classes

    @property
    def _train(self) -> list[str]:
        """The train loaders that a step draws from; those that evaluators alone read are none."""
        names = [name.removeprefix(TRAIN) for name in self.datasets if name.startswith(TRAIN)]
        return [name for name in names if self.read is None or self.read[name]]

    @cached_property  # asking builds collations, and classes are asked for throughout a run
    def trained(self) -> list[str]:
        """The train loaders, as users name them, whose labels are trained on."""
        return [name for name in self._train if self._is_trained(name)]

    def _is_trained(self, name: str) -> bool:
        config = self.configs[TRAIN + name]
        if config.get("sampler") == "class_balanced":
            return True
        collation = build_collation(config, f"data.{TRAIN}{name}")
        if makes_targets(collation):
            return False
        return self.read is None or "target" in self.read.get(name, ())

    @property
    def _labeled_loader(self) -> str | None:
        """The loader whose classes are those of the run."""
        return labeled_loader(self.datasets, [TRAIN + name for name in self.trained])

    @property
    def classes(self) -> list[str] | None:
        """The names of the classes, or None where they have none."""
        name = self._labeled_loader
        return self.datasets[name].classes if name else None

    @property
    def num_classes_found(self) -> int | None:
        """How many classes the labels of training and evaluation need, or None without labels."""
        return num_classes_found(self.datasets, self._labeled_loader)

    @property
    def fields(self) -> dict[str, set[str]]:
        """The field names of every train loader, views included."""
        return {name: set(self.sample_batches[TRAIN + name]) for name in self._train}

    @property
    def rows_per_step(self) -> int:
        """Samples that a step of this process draws from all train loaders."""
        return sum(self.batch_sizes[TRAIN + name] for name in self._train)

    def first_step(self) -> Batch:
        """Two samples of every train loader with all their views, as one flat step."""
        return {
            f"{name}.{field}": value
            for name in self._train
            for field, value in self.sample_batches[TRAIN + name].items()
        }

    def keep(self, fields: Collection[str]) -> None:
        """Makes only what is needed from now on.

        Args:
            fields: Full names such as ``unlabeled.weak``; other views are not computed and other
                fields are dropped.
        """
        self.kept = {*fields, *(f"{name}.index" for name in self._train)}  # names a batch's rows

    def names_of(self, name: str, positions: Iterable[int]) -> list[str]:
        """The names of a train loader's samples, of streamed ones their numbers.

        Args:
            name: The loader.
            positions: Values of its field `index`.
        """
        source = self.datasets[TRAIN + name]
        if isinstance(source, StreamedSamples):
            return [str(position) for position in positions]
        return [source.ids[position] for position in positions]

    def train_dataloader(self) -> NamedLoaders:
        """The train loaders as one iterable of ``{loader name: batch}``."""
        return self._named_loaders(self._rank)

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """The validation loader, or none."""
        return self._loader("val", self._rank) if "val" in self.datasets else []

    def test_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """The test loader, or none."""
        return self._loader("test", self._rank) if "test" in self.datasets else []

    def evaluation_loader(self, name: str) -> Iterator[Batch]:
        """Batches of a train loader's data as validation would see them.

        They come in file order, each sample once, and with the views of validation in place of the
        loader's own, so nothing is augmented but what the loader's `image_transform` does.

        Args:
            name: The train loader's name.

        Raises:
            KeyError: If there is no such loader.
        """
        full = TRAIN + name
        loader = build_loader(
            {"num_workers": self.workers[full]},
            self.datasets[full],
            key=f"data.{full}.evaluation",
            batch_size=self.batch_sizes.get("val", self.batch_sizes[full]),
            seed=self.seed,
        )
        views = next((split for split in ("val", "test") if split in self.views), full)
        for batch in loader:
            yield self._with_views(views, batch)

    def state_dict(self) -> dict[str, int]:
        """What a checkpoint notes of the data: the run's seed."""
        return {"seed": self.seed}

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Makes the views; a training batch becomes one flat ``{loader.field: tensor}``."""
        share = self._rank, self.world_size
        if self.trainer is None or not self.trainer.training:
            name = "test" if self.trainer and self.trainer.testing else "val"
            return self._with_views(name, batch, share=share)
        number = self.trainer.fit_loop.total_batch_idx + 1  # that of the batch before
        flat: Batch = {}
        for name, fields in batch.items():
            made = self._with_views(TRAIN + name, fields, number=number, share=share)
            flat |= {f"{name}.{field}": value for field, value in made.items()}
        return flat if self.kept is None else {k: v for k, v in flat.items() if k in self.kept}

    def _with_views(
        self, name: str, batch: Batch, *, number: int = 0, share: tuple[int, int] = (0, 1)
    ) -> Batch:
        """Adds a loader's views to its fields; a view named as a field replaces it.

        uint8 images that no view replaces are scaled to [0, 1]. Fields that nothing asks for are
        left out of training batches.

        Args:
            name: The loader's split and name.
            batch: Its fields.
            number: Training batches of the run before this one, which seeds the draws.
            share: This process's number, and how many processes share the batch.
        """
        made: Batch = {}
        known_as = name.removeprefix(TRAIN)
        for view, make in self.views.get(name, {}).items():
            if not self._is_kept(name, view):
                continue
            source = batch[getattr(make, "source", "image")]
            generator = batch_generator(self.seed, f"{known_as}.{view}:{number}", *share)
            answer = make(source, generator)
            if isinstance(answer, Tensor):
                made[view] = answer
            else:
                made |= {f"{view}.{part}": value for part, value in answer.items()}
        return {field: _prepared(value) for field, value in {**batch, **made}.items()}

    def _is_kept(self, name: str, view: str) -> bool:
        if self.kept is None or not name.startswith(TRAIN):
            return True
        full = f"{name.removeprefix(TRAIN)}.{view}"
        return any(field == full or field.startswith(f"{full}.") for field in self.kept)

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    def _epoch(self) -> int:
        # To overfit some batches is to see the same ones in every epoch.
        if self.trainer is None or getattr(self.trainer, "overfit_batches", False):
            return 0
        return self.trainer.current_epoch

    def _named_loaders(self, rank: int) -> NamedLoaders:
        loaders = {name: self._loader(TRAIN + name, rank) for name in self._train}
        return NamedLoaders(loaders, self._epoch)

    def _loader(self, name: str, rank: int) -> DataLoader[Batch]:
        return build_loader(
            {**self.configs[name], "num_workers": self.workers[name]},
            self.datasets[name],
            key=f"data.{name}",
            batch_size=self.batch_sizes[name],
            seed=self.seed,
            rank=rank,
            world_size=self.world_size,
        )

    def write_label_list(self, path: Path) -> None:
        """Writes which labels are trained on, as a table: loader, index, id, class.

        Args:
            path: The CSV file; it appears whole or not at all.
        """
        write_label_list(path, self._labels_used())

    def label_counts(self) -> dict[str, dict[str, int]]:
        """How many labels of each class are trained on, by loader; streams do not know theirs."""
        return {name: label_counts(source) for name, source in self._labels_used().items()}

    def _labels_used(self) -> dict[str, Samples]:
        sources = {name: self.datasets[TRAIN + name] for name in self.trained}
        return {name: source for name, source in sources.items() if isinstance(source, Samples)}

    def skipped(self) -> dict[str, list[str]]:
        """The samples that no process could read so far, by loader; called on all of them."""
        own = {n: s.skipped for n, s in self.datasets.items() if isinstance(s, Samples)}
        parts = gather_objects(own)
        found = {name: sorted({i for part in parts for i in part[name]}) for name in own}
        return {self.known_as(name): ids for name, ids in found.items() if ids}

    def sizes(self) -> dict[str, int]:
        """How many samples every loader has; streams that do not know are left out."""
        found = {self.known_as(name): s.num_samples for name, s in self.datasets.items()}
        return {name: size for name, size in found.items() if size is not None}

    def unreadable(self) -> dict[str, int]:
        """How many samples this process knows of that cannot be read, by loader."""
        return {
            self.known_as(name): len(source.skipped)
            for name, source in self.datasets.items()
            if isinstance(source, Samples) and source.skipped
        }

    def known_as(self, name: str) -> str:
        """What a loader is called in reports: a train loader as users call it where that is clear.

        Args:
            name: Its split and name, as in `datasets`.
        """
        short = name.removeprefix(TRAIN)
        return name if short in self.datasets else short


@contextmanager
def _told_at(key: str) -> Iterator[None]:
    """Puts a config key before those of mistakes found, where they do not begin with it."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(
            p if p.key.startswith(key) else ConfigProblem(f"{key}.{p.key}", p.value, p.expected)
            for p in error.problems
        ) from error


def _prepared(value: Any) -> Any:
    """Scales uint8 images to [0, 1], and lays images out as convolutions read them fastest."""
    if not isinstance(value, Tensor) or value.ndim != 4:
        return value
    images = as_float(value) if value.dtype == torch.uint8 else value
    return images.contiguous(memory_format=torch.channels_last)
