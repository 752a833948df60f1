"""Data sets kept in memory as arrays: torchvision's small ones, and scikit-learn's digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...errors import ConfigError, ConfigProblem, suggest
from ..registry import register_dataset
from ..samples import UNLABELED, Sample, Samples
from .image_reader import ImageReader, ImageTransform
from .name_matching import subset_names

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

# For each kind the torchvision class, and its arguments for each subset.
_TRAIN_TEST = {"train": {"train": True}, "test": {"train": False}}
_SPLITS: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "cifar10": ("CIFAR10", _TRAIN_TEST),
    "cifar100": ("CIFAR100", _TRAIN_TEST),
    "mnist": ("MNIST", _TRAIN_TEST),
    "fashion_mnist": ("FashionMNIST", _TRAIN_TEST),
    "stl10": ("STL10", {name: {"split": name} for name in ("train", "test", "unlabeled")}),
    "svhn": ("SVHN", {name: {"split": name} for name in ("train", "test", "extra")}),
}
_VAL = "val"
_VAL_SHARE = 10


def _torchvision_kind(kind: str) -> Callable[..., Samples]:
    """Creates the builder of a torchvision data set."""

    def build(
        root: str,
        subset: str | list[str] | None = None,
        image_transform: ImageTransform | None = None,
        download: bool = False,
        holdout: bool = False,
    ) -> Samples:
        files = _SPLITS[kind][1]
        names = _chosen_names(subset, [*files, _VAL], default=list(files))
        parts = [_read(kind, name, root, download, holdout) for name in names]
        images = np.concatenate([part[0] for part in parts])
        labels = np.concatenate([part[1] for part in parts])
        ids = [f"{name}/{i}" for name, part in zip(names, parts, strict=True) for i in part[2]]
        return _samples(images, labels, ids, parts[0][3], image_transform)

    build.__name__ = build.__qualname__ = kind
    build.__doc__ = f"""torchvision's {_SPLITS[kind][0]}, kept in memory.

    Args:
        root: The folder that holds its files.
        subset: {", ".join(_SPLITS[kind][1])}, or ``val``, the last tenth of each class of the train
            files; a list of them; None means all files.
        image_transform: Applied to each image.
        download: Whether missing files are downloaded.
        holdout: Whether ``train`` leaves out what ``val`` reads.

    Raises:
        ConfigError: If the files are missing or damaged.
    """
    return register_dataset(build)  # type: ignore[no-any-return]


cifar10 = _torchvision_kind("cifar10")
cifar100 = _torchvision_kind("cifar100")
mnist = _torchvision_kind("mnist")
fashion_mnist = _torchvision_kind("fashion_mnist")
stl10 = _torchvision_kind("stl10")
svhn = _torchvision_kind("svhn")


@register_dataset
def digits(
    root: str = ".",
    subset: str | list[str] | None = None,
    image_transform: ImageTransform | None = None,
    split_seed: int = 0,
) -> Samples:
    """scikit-learn's 1,797 handwritten digits: 8x8 pixels, one channel, ten classes.

    Args:
        root: Not read; the digits come with scikit-learn.
        subset: ``train`` or ``test``, a stratified split of 80 to 20; None means both.
        image_transform: Applied to each image.
        split_seed: Seeds the split.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    content = load_digits()
    images = np.round(content.images * (255 / 16)).astype(np.uint8)
    labels = content.target.astype(np.int64)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=split_seed
    )
    parts = {"train": np.sort(train), "test": np.sort(test)}
    rows = np.concatenate([parts[name] for name in _chosen_names(subset, list(parts))])
    classes = [str(name) for name in content.target_names]
    ids = [str(row) for row in rows]
    return _samples(images[rows], labels[rows], ids, classes, image_transform)


def _samples(
    images: Images,
    labels: Labels,
    ids: list[str],
    classes: list[str] | None,
    image_transform: ImageTransform | None,
) -> Samples:
    return Samples(array_reader(images, image_transform), ids, labels, classes)


def array_reader(images: Images, image_transform: ImageTransform | None) -> ImageReader:
    """Builds a reader of the images in an array; without a transform it reads whole batches.

    Args:
        images: uint8 (N, H, W) or (N, H, W, C).
        image_transform: Applied to each image; None makes uint8 tensors (C, H, W).
    """
    if image_transform is None:
        return UntransformedArrayReader(images)
    return ImageReader(ArrayImages(images), image_transform)


class ArrayImages:
    """Loads images from an array.

    Args:
        images: uint8 (N, H, W) or (N, H, W, C).
    """

    def __init__(self, images: Images) -> None:
        self.images = images

    def __call__(self, position: int) -> Images:
        """Returns the image at a position: (H, W) or (H, W, C)."""
        image: Images = self.images[position]
        return image


class UntransformedArrayReader(ImageReader):
    """Reads images of an array without a transform, one by one or whole batches at once.

    Args:
        images: uint8 (N, H, W) or (N, H, W, C).
    """

    def __init__(self, images: Images) -> None:
        super().__init__(ArrayImages(images), None)
        self.images = images

    def take(self, positions: npt.NDArray[np.int64]) -> Sample:
        """Reads several: `image` is uint8 (len(positions), C, H, W)."""
        chosen = self.images[positions]
        chosen = chosen[..., None] if chosen.ndim == 3 else chosen
        return {"image": torch.from_numpy(chosen).permute(0, 3, 1, 2)}


def _chosen_names(
    subset: str | list[str] | None, known: list[str], default: list[str] | None = None
) -> list[str]:
    given = subset_names(subset)
    names = (default or known) if given is None else given
    problems = [
        ConfigProblem("subset", name, f"no such subset; {suggest(name, known, noun='subsets')}")
        for name in names
        if name not in known
    ]
    if problems:
        raise ConfigError(problems)
    return names


def _read(
    kind: str, name: str, root: str, download: bool, holdout: bool
) -> tuple[Images, Labels, list[int], list[str] | None]:
    """Reads a subset: images, labels, their numbers in the file, and the names of the classes."""
    images, labels, classes = _files(kind, "train" if name == _VAL else name, root, download)
    rows = np.arange(len(labels))
    if name == _VAL or (name == "train" and holdout):
        is_val = np.isin(rows, _last_tenth(labels))
        rows = rows[is_val if name == _VAL else ~is_val]
    return images[rows], labels[rows], [int(row) for row in rows], classes


def _last_tenth(labels: Labels) -> npt.NDArray[np.int64]:
    by_class = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return np.concatenate([rows[len(rows) - len(rows) // _VAL_SHARE :] for rows in by_class])


def _files(
    kind: str, name: str, root: str, download: bool
) -> tuple[Images, Labels, list[str] | None]:
    from torchvision import datasets

    set_name, files = _SPLITS[kind]
    try:
        content = getattr(datasets, set_name)(root, download=download, **files[name])
    except (RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        expected = f"{set_name} is missing or damaged ({reason}); download: true downloads it"
        raise ConfigError([ConfigProblem("root", root, expected)]) from error
    images = np.asarray(content.data, dtype=np.uint8)
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] not in (1, 3):
        images = images.transpose(0, 2, 3, 1)
    labels = content.targets if hasattr(content, "targets") else content.labels
    if labels is None:
        labels = np.full(len(images), UNLABELED)
    classes = [str(c) for c in content.classes] if hasattr(content, "classes") else None
    return images, np.asarray(labels, dtype=np.int64), classes
