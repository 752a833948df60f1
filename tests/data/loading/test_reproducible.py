"""What random transforms and collations draw, whoever reads, from wherever a run goes on."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import BatchSampler, DataLoader
from torchvision.transforms import v2

from sesemi_like.collation import JigsawTransformer
from sesemi_like.data import convert
from sesemi_like.data.loading.loaders import build_loader
from sesemi_like.data.loading.named_loaders import NamedLoaders
from sesemi_like.data.samples import Samples
from sesemi_like.data.sources.image_reader import ImageReader
from sesemi_like.data.sources.shards import shards
from sesemi_like.transforms.albumentations import Albumentations


class Drawing:
    """Makes an image of one number of each generator that a transform may draw from."""

    def __call__(self, image: Image.Image) -> torch.Tensor:
        return torch.tensor([torch.rand(()), np.random.rand(), random.random()]).reshape(3, 1, 1)


def albumentations() -> Albumentations:
    library = pytest.importorskip("albumentations", reason="albumentations is not installed")
    return Albumentations([library.RandomBrightnessContrast(p=1), library.HorizontalFlip(p=0.5)])


def torchvisions() -> Any:
    return v2.Compose([v2.PILToTensor(), v2.RandomCrop(3), v2.RandomApply([v2.ColorJitter(0.5)])])


def mixed() -> Any:
    return v2.Compose([v2.RandomChoice([Drawing(), v2.Compose([Drawing()])])])


TRANSFORMS = {
    "global generators": Drawing,
    "albumentations": albumentations,
    "torchvision": torchvisions,
    "parts that draw elsewhere": mixed,
}


def random_image(position: int) -> NDArray[Any]:
    return np.full((4, 4, 3), position, dtype=np.uint8) + np.arange(4, dtype=np.uint8)[:, None]


def loader(
    transform: Any,
    count: int = 20,
    batch_size: int = 4,
    *,
    rank: int = 0,
    world_size: int = 1,
    seed: int = 0,
    **config: Any,
) -> DataLoader[Any]:
    samples = Samples(ImageReader(random_image, transform), list(map(str, range(count))))
    return build_loader(
        {"shuffle": True, **config}, samples, key="data.train.x", batch_size=batch_size, seed=seed,
        rank=rank, world_size=world_size,
    )  # fmt: skip


def epoch(
    built: DataLoader[Any], number: int = 0, first: int = 0, field: str = "image"
) -> list[torch.Tensor]:
    """The values of an epoch's batches, perhaps from the middle of it on."""
    named = NamedLoaders({"x": built}, lambda: number)
    named.load_state_dict({"step": first})
    return [step["x"][field] for step in named]


def equal(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return len(first) == len(second) and all(map(torch.equal, first, second))


@pytest.mark.parametrize("kind", TRANSFORMS)
@pytest.mark.parametrize("workers", [1, 2])
def test_draws_do_not_depend_on_workers_or_resuming(kind: str, workers: int) -> None:
    transform = TRANSFORMS[kind]()
    alone = loader(transform)
    first, second = epoch(alone, 0), epoch(alone, 1)
    built = loader(transform, num_workers=workers)
    assert equal(epoch(built, 0), first)
    assert equal(epoch(built, 1), second)  # by workers that go on from the first epoch
    assert equal(epoch(built, 1, first=3), second[3:])
    assert not equal(first, epoch(loader(transform, seed=1), 0))


def test_draws_differ_between_rows_passes_and_times_that_a_row_is_read() -> None:
    built = loader(Drawing(), count=4, batch_size=4, repeat=2)
    batches = [*epoch(built, 0), *epoch(built, 1)]
    drawn = torch.cat(batches).flatten(1)
    assert drawn.shape == (16, 3)
    assert all(len(column.unique()) == 16 for column in drawn.T)


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_draw_for_their_rows_what_one_would(world_size: int) -> None:
    whole = epoch(loader(Drawing(), count=16, batch_size=8))
    for rank in range(world_size):
        share: dict[str, Any] = {
            "rank": rank,
            "world_size": world_size,
            "batch_size": 8 // world_size,
        }
        own = epoch(loader(Drawing(), count=16, **share))
        assert equal(own, [batch[rank::world_size] for batch in whole])


def in_threes(dataset: Samples) -> BatchSampler:
    return torch.utils.data.BatchSampler(range(len(dataset)), 3, drop_last=False)


def test_batches_of_a_sampler_of_batches_draw_alike_too() -> None:
    config: dict[str, Any] = {
        "batch_sampler": {"_target_": f"{__name__}.in_threes"},
        "shuffle": False,
    }
    whole = epoch(loader(Drawing(), **config))
    assert len(torch.cat(whole).flatten(1).unique(dim=0)) == 20
    assert equal(epoch(loader(Drawing(), num_workers=2, **config), first=2), whole[2:])
    second = epoch(loader(Drawing(), rank=1, world_size=2, **config))
    assert equal(second[:3], whole[1::2])


@pytest.mark.parametrize(
    "config",
    [
        {"sampler": {"_target_": "torch.utils.data.RandomSampler"}},
        {"batch_sampler": {"_target_": f"{__name__}.shuffled_threes"}},
    ],
)
def test_a_sampler_that_draws_by_itself_gives_all_processes_one_order(
    config: dict[str, Any],
) -> None:
    whole = epoch(loader(None, batch_size=5, **config), number=1, field="index")
    assert sorted(torch.cat(whole).tolist()) == list(range(20))
    assert not equal(whole, epoch(loader(None, batch_size=5, **config), field="index"))
    resumed = epoch(loader(None, batch_size=5, **config), number=1, first=2, field="index")
    assert equal(resumed, whole[2:])
    rows = []
    for rank in range(2):
        torch.manual_seed(rank)  # as processes that train have it
        built = loader(None, batch_size=5, rank=rank, world_size=2, **config)
        rows += torch.cat(epoch(built, field="index")).tolist()
    assert set(rows) == set(range(20))


def shuffled_threes(dataset: Samples) -> BatchSampler:
    order = torch.utils.data.RandomSampler(dataset)
    return torch.utils.data.BatchSampler(order, 3, drop_last=False)


def states() -> tuple[torch.Tensor, list[int], tuple[int, tuple[int, ...], None]]:
    numpy_state: Any = np.random.get_state()
    return torch.get_rng_state(), numpy_state[1].tolist(), random.getstate()


def test_the_generators_of_the_process_are_left_alone() -> None:
    before = states()
    epoch(loader(Drawing()))
    after = states()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_looking_up_seeds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[Any] = []
    monkeypatch.setattr("sesemi_like.data.loading.reproducible.seed_generators", seeds.append)
    assert len(epoch(loader(None))) == 5
    assert not seeds
    epoch(loader(torchvisions()))
    assert not seeds  # but torch's, which is all that it draws from
    epoch(loader(Drawing()))
    assert len(seeds) == 20


JIGSAW: dict[str, Any] = {"collate_fn": {"_target_": "sesemi_like.collation.JigsawTransformer"}}


def test_jigsaws_are_those_of_the_whole_batch_whoever_makes_them() -> None:
    whole = epoch(loader(None, batch_size=8, **JIGSAW), field="target")
    assert len(torch.cat(whole).unique()) > 5
    assert equal(epoch(loader(None, batch_size=8, num_workers=2, **JIGSAW), field="target"), whole)
    for rank in range(2):
        share: dict[str, Any] = {"rank": rank, "world_size": 2, "batch_size": 4}
        own = epoch(loader(None, **share, **JIGSAW), field="target")
        assert equal(own, [batch[rank::2] for batch in whole])
    assert JigsawTransformer()([{"image": torch.zeros(3, 4, 4)}])["target"].shape == (1,)


class Mixing:
    """A collation that draws from the global generators."""

    def __call__(self, samples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        return {"image": torch.rand(len(samples)), "index": torch.tensor([np.random.rand()])}


@pytest.mark.parametrize("field", ["image", "index"])
def test_a_collation_that_draws_by_itself_does_so_by_its_batch(field: str) -> None:
    config: dict[str, Any] = {"collate_fn": {"_target_": f"{__name__}.Mixing"}}
    first = epoch(loader(None, **config), field=field)
    assert equal(epoch(loader(None, num_workers=2, **config), first=1, field=field), first[1:])
    other = epoch(loader(None, rank=1, world_size=2, **config), field=field)
    assert not torch.equal(other[0], first[0])


@pytest.fixture
def folder_of_shards(tmp_path: Path) -> Path:
    for name in range(12):
        target = tmp_path / "images" / "a" / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random_image(name)).save(target)
    convert.main(["--name", "image_folder", "--root", str(tmp_path / "images"),
                  "--out", str(tmp_path / "shards"), "--samples-per-shard", "5"])  # fmt: skip
    return tmp_path / "shards"


def test_samples_of_shards_draw_by_pass_and_position(folder_of_shards: Path) -> None:
    def built(**config: int) -> DataLoader[Any]:
        return build_loader(config, shards(str(folder_of_shards), image_transform=Drawing()),
                            key="data.train.x", batch_size=2, seed=0)  # fmt: skip

    before = states()
    whole = epoch(built())
    assert before[1:] == states()[1:]
    assert len(torch.cat(whole).flatten(1).unique(dim=0)) == 12
    assert equal(epoch(built(num_workers=1)), whole)
    assert equal(epoch(built(num_workers=1), first=2), whole[2:])
    assert not equal(epoch(built(), 1), whole)
