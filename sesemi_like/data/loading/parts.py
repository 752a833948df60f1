"""The parts of each named loader of a run, and how they are built from its config."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader, Sampler

from ...config.instantiate import instantiate, instantiate_within
from ...config.sizes import parse_bytes
from ...errors import ConfigError, ConfigProblem, Problems
from ..batches import Batch
from ..cache.plan import CachePlan, plan_cache
from ..checks.first_batch import first_batch
from ..checks.unreadable import check_readable
from ..progress import Progress
from ..registry import dataset
from ..samples import Samples
from ..streams import StreamedSamples
from .collating import makes_fields
from .keys import PREDICT, TRAIN, config_key
from .loader_views import LoaderViews, build_views
from .loaders import batch_size_of, build_batch_loader, build_loader
from .partial_fields import PartialFields
from .samplers import Rows
from .workers import AUTO, assign_workers

if TYPE_CHECKING:
    from ..features.field import FrozenField


@dataclass
class LoaderParts:
    """The parts of one loader of a run.

    Attributes:
        name: Its split and name: ``train.<loader name>``, ``val``, ``evaluation.<loader name>``.
        config: Its config.
        dataset: Its data set.
        image_transform: The transform that the data set applies to each image.
        cache_plan: What is still to be decoded; None where nothing is.
        batch_size: Rows of a batch of one process.
        views: The views of its batches.
        workers: The number of its worker processes.
        sample_batch: A few samples with all their views, as a step would see them.
        partial: The fields that only some samples have.
        source: The parts that read the data set itself, where these read stored features.
        frozen_fields: The fields whose features are read.
    """

    name: str
    config: Mapping[str, Any]
    dataset: Samples | StreamedSamples
    image_transform: Any
    cache_plan: CachePlan | None
    batch_size: int
    views: LoaderViews
    workers: int = 0
    sample_batch: Batch = field(default_factory=dict)
    partial: PartialFields = field(default_factory=PartialFields)
    source: LoaderParts | None = None
    frozen_fields: Sequence[FrozenField] = ()

    @property
    def reading(self) -> LoaderParts:
        """The parts that read the data set itself."""
        return self.source or self

    @property
    def key(self) -> str:
        """Its config key."""
        return config_key(self.name)

    @property
    def is_lookup(self) -> bool:
        """Whether reading a sample takes no decoding, or will take none once they are cached."""
        if self.cache_plan is not None:
            return self.cache_plan.looks_up
        return isinstance(self.dataset, Samples) and self.dataset.reads_batches

    def build(self, seed: int, rank: int, world_size: int) -> DataLoader[Batch]:
        """Builds the data loader.

        Args:
            seed: The run's seed.
            rank: The number of this process.
            world_size: The number of processes.

        Raises:
            ConfigError: If the config cannot work, or the data set does not fill a batch.
        """
        return build_loader(
            {**self.config, "num_workers": self.workers},
            self.dataset,
            key=self.key,
            batch_size=self.batch_size,
            seed=seed,
            rank=rank,
            world_size=world_size,
            partial=self.partial,
        )

    def build_in_order(
        self, seed: int, batch_size: int, rank: int, world_size: int
    ) -> DataLoader[Batch]:
        """Builds a loader of the same data in file order, each sample once but to fill up shares.

        Of its collation only what makes fields is kept, no pretext task.

        Args:
            seed: The run's seed.
            batch_size: Rows of a batch.
            rank: The number of this process.
            world_size: The number of processes.
        """
        collation = self.config.get("collate_fn")
        kept = {"collate_fn": collation} if makes_fields(collation) else {}
        return build_loader(
            {"num_workers": self.workers, **kept},
            self.dataset,
            key=f"{self.key}.evaluation",
            batch_size=batch_size,
            seed=seed,
            rank=rank,
            world_size=world_size,
            partial=self.partial,
        )

    def build_batches(self, batches: Sampler[Rows]) -> DataLoader[Batch]:
        """Builds a loader of given batches of the same data, whose draws depend on no seed.

        Args:
            batches: The rows of each batch.
        """
        assert isinstance(self.dataset, Samples), "streams have no rows to be named"
        config = {**self.config, "num_workers": self.workers}
        return build_batch_loader(
            config, self.dataset, batches, key=self.key, seed=0, partial=self.partial
        )

    def decode(self, processes: int, progress: Progress) -> bool:
        """Decodes what is planned to be cached, and checks that images can be read.

        Args:
            processes: Processes that decode.
            progress: Shows how many images have been decoded.

        Returns:
            Whether a planned cache was not built, as no place was left for it.

        Raises:
            ConfigError: If a requested cache cannot be built, or images cannot be read.
        """
        plan, self.cache_plan = self.cache_plan, None
        with problems_under(f"{self.key}.dataset"):
            if plan is not None:
                self.dataset = plan.build(processes, progress)
            check_readable(self.dataset, self.key, plan.folder if plan else None)
        return plan is not None and self.dataset is plan.samples


def set_workers(loaders: Mapping[str, LoaderParts], names: Iterable[str], cpus: int) -> None:
    """Sets the number of worker processes of some loaders.

    Args:
        loaders: All loaders of the run, which share the CPUs.
        names: Those whose workers are set.
        cpus: CPUs that this process may use.
    """
    assigned = assign_workers(
        {name: loader.config.get("num_workers", AUTO) for name, loader in loaders.items()},
        {name: loader.batch_size for name, loader in loaders.items()},
        {name: loader.is_lookup for name, loader in loaders.items()},
        cpus,
    )
    for name in names:
        loaders[name].workers = assigned[name]


def step_fields(
    loaders: Mapping[str, LoaderParts],
    batches: Mapping[str, Batch],
    number: int,
    share: tuple[int, int],
) -> Batch:
    """Makes one flat ``{loader.field: tensor}`` of the batches of a step, views included.

    Args:
        loaders: The parts of all loaders.
        batches: A batch of each train loader, by the names that users give them.
        number: The number of training batches before this one, which seeds the draws.
        share: The number of this process, and the number of processes.
    """
    views = {name: loaders[TRAIN + name].views for name in batches}
    return {
        f"{name}.{field}": value
        for name, batch in batches.items()
        for field, value in views[name].of_step(batch, number, share).items()
    }


class PartsBuilder:
    """Builds the parts of a run's loaders, and checks each on its first samples.

    Args:
        run: The section `run`.
        world_size: Processes over all nodes.
        seed: The run's seed.

    Attributes:
        processes: Processes of the run on this machine.
        datasets: The data sets built so far, including those of loaders that failed otherwise.
    """

    def __init__(self, run: Mapping[str, Any], *, world_size: int, seed: int) -> None:
        self.run, self.world_size, self.seed = run, world_size, seed
        self.processes = max(1, world_size // run["num_nodes"])
        self.datasets: dict[str, Samples | StreamedSamples] = {}

    def build(self, name: str, config: Mapping[str, Any]) -> LoaderParts:
        """Builds the parts of one loader.

        Args:
            name: Its split and name.
            config: Its config.

        Raises:
            ConfigError: With every mistake found in it.
        """
        key, problems = config_key(name), Problems()
        with problems.collecting():
            default = self.run["batch_size_per_gpu"]
            batch_size = batch_size_of(config, key, default, self.world_size)
        with problems.collecting():
            # What is predicted is the same in every run, whatever its seed.
            views = build_views(name, config, key, 0 if name == PREDICT else self.seed)
        with problems.collecting(), problems_under(f"{key}.dataset"):
            source, transform, plan = self._dataset(name, config["dataset"])
        with problems.collecting():  # here alone, as building a tokenizer may take seconds
            collation = instantiate(config.get("collate_fn"), key=f"{key}.collate_fn")
            config = {**config, "collate_fn": collation}
        problems.raise_if_any()
        parts = LoaderParts(name, config, source, transform, plan, batch_size, views)
        parts.sample_batch, parts.partial = first_batch(source, config, key, views.apply)
        parts.build(self.seed, 0, self.world_size)
        return parts

    def _dataset(
        self, name: str, config: Mapping[str, Any]
    ) -> tuple[Samples | StreamedSamples, Any, CachePlan | None]:
        settings = instantiate_within(config, key=f"{config_key(name)}.dataset")
        transform = settings.pop("image_transform", None)
        settings["root"] = self._root(str(settings.pop("root", None) or ""))
        kind, side = settings.pop("cache", "auto"), settings.pop("cache_side", None)
        folder = Path(self.run["cache_dir"]) if self.run["cache_dir"] else None
        source = self.datasets[name] = dataset(image_transform=transform, **settings)
        limit = parse_bytes(self.run["cache_limit"])
        plan = plan_cache(
            source, kind, side=side, folder=folder, limit=limit, processes=self.processes
        )
        return source, transform, plan

    def _root(self, root: str) -> str:
        if root.startswith(("http://", "https://")):
            return root
        return str(Path(self.run["data_root"] or ".") / root)


@contextmanager
def problems_under(key: str) -> Iterator[None]:
    """Prefixes the keys of problems raised inside with a config key that they lack."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(
            p if p.key.startswith(key) else ConfigProblem(f"{key}.{p.key}", p.value, p.expected)
            for p in error.problems
        ) from error
