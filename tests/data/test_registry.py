"""The factory of data sets: keys and builders that do not fit are reported, and only they."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from composing import composed
from PIL import Image

from sesemi_like.data import DataModule, dataset, register_dataset
from sesemi_like.errors import ConfigError


def problems(call: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Any]:
    with pytest.raises(ConfigError) as caught:
        call(*args, **kwargs)
    return [(p.key, p.value, p.expected) for p in caught.value.problems]


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("subest", "subset"), ("image_transfrom", "image_transform"), ("cahce", "cache"),
     ("labels_per_clas", "labels_per_class"), ("split_sed", "split_seed"), ("rot", "root")],
)  # fmt: skip
def test_every_key_of_a_data_set_is_suggested(wrong: str, meant: str) -> None:
    ((key, _, expected),) = problems(dataset, "digits", **{wrong: "x"})
    assert key == wrong
    assert f"did you mean {meant!r}" in expected


def test_builders_that_cannot_be_called_are_reported() -> None:
    register_dataset("needs_version")(lambda root, subset, image_transform, version: [])
    register_dataset("takes_root_alone")(lambda root: [])
    ((key, value, expected),) = problems(dataset, "needs_version")
    assert (key, value) == ("name", "needs_version")
    assert "missing a required argument: 'version'" in expected
    ((key, _, expected),) = problems(dataset, "takes_root_alone")
    assert key == "name"
    assert "root, subset, image_transform" in expected


def test_files_that_a_builder_does_not_find_are_reported() -> None:
    register_dataset("reads_a_file")(lambda root, subset, image_transform: np.load(f"{root}/x.npz"))
    ((key, value, expected),) = problems(dataset, "reads_a_file", "nowhere")
    assert (key, value) == ("root", "nowhere")
    assert "reads_a_file cannot read it" in expected
    assert "nowhere/x.npz" in expected


def test_a_wrong_key_accuses_no_right_one(tmp_path: Path) -> None:
    """Where `supervised` fails, other loaders' class folders are no measure for `val`."""
    for name in ("train/a", "train/b", "val/a", "val/b", "heap/c", "heap/d"):
        (tmp_path / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (9, 9)).save(tmp_path / name / f"{number}.png")
    settings = (f"run.data_root={tmp_path}", "run.batch_size_per_gpu=2", "run.gpus=0")
    for wrong in ("subest=train", "subset=trian"):
        config = composed("base", *settings, f"++data.train.supervised.dataset.{wrong}")
        reported = problems(DataModule, config.data, config.run, world_size=1, seed=0)
        key = wrong.partition("=")[0]
        assert [key for key, _, _ in reported] == [f"data.train.supervised.dataset.{key}"]
