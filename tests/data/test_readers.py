"""What a custom reader declares that it can do is used; nothing is assumed of other readers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from sesemi_like.data import Samples, dataset, register_dataset, registry
from sesemi_like.data.batches import StackedSamples
from sesemi_like.data.loading.loaders import build_loader
from sesemi_like.data.readers import Draws
from sesemi_like.data.sources.image_reader import ImageReader

VALUES = torch.arange(12.0).reshape(6, 2)


def read_row(position: int) -> dict[str, Any]:
    return {"values": VALUES[position]}


class RowReader:
    """Reads rows of a table, several at once."""

    draws = Draws.NOTHING

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    def __call__(self, position: int) -> dict[str, Any]:
        return read_row(position)

    def take(self, positions: npt.NDArray[np.int64]) -> Mapping[str, Tensor]:
        self.calls.append(positions.tolist())
        return {"values": VALUES[torch.from_numpy(positions)]}


def test_a_registered_data_set_may_read_whole_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "BUILDERS", dict(registry.BUILDERS))
    reader = RowReader()
    register_dataset("rows")(lambda root, subset, image_transform: Samples(reader, "abcdef"))
    samples = dataset("rows")
    assert isinstance(samples, Samples)
    assert samples.reads_batches
    assert isinstance(samples.__getitems__([1, 4]), StackedSamples)
    built = build_loader({}, samples, key="data.train.rows", batch_size=4, seed=0)
    batches = list(built)
    assert torch.equal(torch.cat([batch["values"] for batch in batches]), VALUES)
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(6))
    assert reader.calls == [[1, 4], [0, 1, 2, 3], [4, 5]]


def test_a_plain_function_reads_one_by_one_and_may_draw_from_any_generator() -> None:
    samples = Samples(read_row, "abcdef")
    assert not samples.reads_batches
    assert samples.draws is Draws.ANY
    assert type(samples.__getitems__([0, 1])) is list


@pytest.mark.parametrize(
    ("transform", "draws"),
    [
        (None, Draws.NOTHING),
        (v2.Resize(8), Draws.NOTHING),
        (v2.RandomHorizontalFlip(), Draws.TORCH),
        (v2.Compose([v2.Resize(8), v2.Lambda(np.asarray)]), Draws.ANY),
        (np.asarray, Draws.ANY),
    ],
)
def test_what_an_image_reader_draws_from_is_what_its_transform_draws_from(
    transform: Any, draws: Draws
) -> None:
    samples = Samples(ImageReader(lambda position: Image.new("L", (8, 8)), transform), "ab")
    assert samples.draws is draws


class Files:
    """A loader of files that records the sides requested."""

    def __init__(self) -> None:
        self.sides: list[int | None] = []

    def __call__(self, position: int, least: int | None = None) -> Image.Image:
        self.sides.append(least)
        return Image.new("RGB", (64, 64))

    def fingerprint(self, position: int) -> str:
        return str(position)


def test_a_loader_of_files_gets_the_side_that_the_transform_needs() -> None:
    files = Files()
    assert ImageReader(files, v2.Resize(8))(0)["image"].size == (8, 8)
    ImageReader(files, None)(0)
    assert files.sides == [16, None]
