"""What features are computed of: every draw of a view, for each row, and what tells them apart."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

from sesemi_like.data.features.inputs import BLOCK, FieldInputs
from sesemi_like.data.loading.parts import LoaderParts, PartsBuilder

NOISE = {
    "_target_": "sesemi_like.views.Compose",
    "steps": [{"_target_": "sesemi_like.views.ColorJitter", "brightness": 0.5}],
}
FLIP = {"_target_": "torchvision.transforms.v2.RandomHorizontalFlip", "p": 0.5}
COUNT = BLOCK + 5


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for number in range(COUNT):
        path = folder / "train" / "ab"[number % 2] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return folder


def parts_of(root: Path, seed: int = 0, **settings: Any) -> LoaderParts:
    dataset = {"name": "image_folder", "root": "", "subset": "train"}
    dataset |= settings.pop("dataset", {})
    run = {
        "num_nodes": 1, "batch_size_per_gpu": 4, "data_root": str(root), "cache_limit": None,
        "cache_dir": str(root / "cache"),
    }  # fmt: skip
    config: Any = OmegaConf.create({"dataset": dataset, "num_workers": 0, **settings})
    builder = PartsBuilder(run, world_size=1, seed=seed)
    plain: Any = OmegaConf.to_container(config)
    return builder.build("train.unlabeled", plain)


def values(inputs: FieldInputs, rows: Sequence[int] | None = None) -> list[list[Tensor]]:
    """The blocks of draws of some rows, or of all."""
    chosen = range(len(inputs.positions)) if rows is None else rows
    return list(inputs.blocks(chosen, "cpu"))


def test_a_field_without_a_view_is_read_in_file_order(root: Path) -> None:
    parts = parts_of(root, shuffle=True)
    inputs = FieldInputs(parts, "image", 3)
    assert (inputs.draws, inputs.is_random, inputs.source) == (1, False, "image")
    blocks = values(inputs)
    assert [[len(draw) for draw in block] for block in blocks] == [[BLOCK], [5]]
    found = torch.cat([draw for block in blocks for draw in block])
    expected = [parts.dataset[row]["image"] / 255 for row in range(COUNT)]
    torch.testing.assert_close(found, torch.stack(expected))
    torch.testing.assert_close(values(inputs, [3, 66])[0][0], found[[3, 66]])


def test_a_random_view_is_drawn_several_times_and_alike_in_every_run(root: Path) -> None:
    inputs = FieldInputs(parts_of(root, views={"weak": NOISE}), "weak", 3)
    assert (inputs.draws, inputs.is_random, inputs.source) == (3, True, "image")
    first, second = values(inputs)
    assert [len(draw) for draw in first] == [BLOCK] * 3
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0][:5] / first[1][:5], second[0] / second[1])
    again = FieldInputs(parts_of(root, seed=7, views={"weak": NOISE}), "weak", 3)
    for one, other in zip([first, second], values(again), strict=True):
        assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))


@pytest.mark.parametrize("draws", [1, 2])
def test_equal_views_of_a_loader_draw_apart_and_those_of_other_loaders_alike(
    root: Path, draws: int
) -> None:
    views = {"weak": NOISE, "weak_2": NOISE}
    first, second = (FieldInputs(parts_of(root, views=views), name, draws) for name in views)
    assert first.settings() != second.settings()
    assert not torch.equal(values(first)[0][0], values(second)[0][0])
    other = FieldInputs(parts_of(root, views={"image": NOISE}), "image", draws)
    assert other.settings() == first.settings()
    assert torch.equal(values(first)[1][-1], values(other)[1][-1])


def test_random_transforms_of_the_data_set_are_drawn_several_times_too(root: Path) -> None:
    transform = {
        "_target_": "torchvision.transforms.v2.Compose",
        "transforms": [FLIP, {"_target_": "torchvision.transforms.v2.PILToTensor"}],
    }
    inputs = FieldInputs(parts_of(root, dataset={"image_transform": transform}), "image", 8)
    assert (inputs.draws, inputs.is_random) == (8, True)
    draws = values(inputs)[0]
    images = torch.stack(draws, dim=1)[:, :, 0]
    distinct = {len({tuple(row.flatten().tolist()) for row in image}) for image in images}
    assert {2} <= distinct <= {1, 2}  # flipped or not


@pytest.mark.parametrize(
    ("changed", "differs"),
    [
        ({"views": {"weak": NOISE | {"steps": []}}}, True),
        ({"views": {"weak": NOISE, "strong": NOISE}}, False),
        ({"views": {"weak": NOISE}, "shuffle": True, "batch_size": 2}, False),
        ({"views": {"weak": NOISE}, "dataset": {"labels_per_class": 1}}, False),
        ({"views": {"weak": NOISE}, "dataset": {"cache": "ram", "cache_side": 4}}, True),
        ({"views": {"weak": NOISE}, "dataset": {"cache": "none"}}, False),
        (
            {
                "views": {"weak": NOISE},
                "dataset": {
                    "image_transform": {"_target_": "torchvision.transforms.v2.PILToTensor"}
                },
            },
            True,
        ),
    ],
)
def test_settings_are_those_that_values_depend_on(
    root: Path, changed: dict[str, Any], differs: bool
) -> None:
    plain = FieldInputs(parts_of(root, views={"weak": NOISE}), "weak", 2)
    other = FieldInputs(parts_of(root, **changed), "weak", 2)
    assert (plain.settings() != other.settings()) == differs


def test_rows_are_told_apart_by_their_files_or_their_content(root: Path, tmp_path: Path) -> None:
    inputs = FieldInputs(parts_of(root, views={"weak": NOISE}), "weak", 2)
    prints = inputs.fingerprints()
    assert len(set(prints)) == len(prints) == COUNT
    few: Any = {"dataset": {"num_rows": 9}, "views": {"weak": NOISE}}
    chosen = FieldInputs(parts_of(root, **few), "weak", 2)
    assert set(chosen.fingerprints()) == {prints[position] for position in chosen.positions}
    digits = {"name": "digits", "subset": "test", "num_rows": 30}
    arrays = FieldInputs(parts_of(root, dataset=digits), "image", 2)
    assert len({*arrays.fingerprints()}) == 30
    assert arrays.fingerprints() == arrays.fingerprints()
