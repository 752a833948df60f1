"""Data sets of image files: class folders and loose files."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from ...errors import ConfigError, ConfigProblem, suggest
from ..packed_names import PackedNames
from ..registry import register_dataset
from ..samples import UNLABELED, Samples
from .decoding import Pixels, decode
from .image_listing import EXTENSIONS, ImageListing, folders_in
from .image_reader import ImageReader, ImageTransform, file_loader_of
from .name_matching import comparable, look_alikes, printable, subset_names

log = logging.getLogger(__name__)


@register_dataset
def image_folder(
    root: str, subset: str | list[str] | None = None, image_transform: ImageTransform | None = None
) -> Samples:
    """Images in class folders: ``root/subset/class/image``.

    Images directly in a subset's folder, outside class folders, are unlabeled. If the root's
    folders hold images but no further folders, and no subset is given, they are the classes:
    ``root/class/image``.

    Args:
        root: The folder.
        subset: A subset folder or a list of them, one after the other; None means all.
        image_transform: Applied to each image.

    Raises:
        ConfigError: If the root, a subset or its images are missing.
    """
    top = _existing_folder(root)
    subsets = _subset_folders(top, subset)
    if subset is None and subsets and not any(folders_in(s) for s in subsets):
        subsets = [top]
    listing = ImageListing()
    files: list[Path] = []
    names: list[str | None] = []
    for folder in subsets:
        loose = listing.within(folder)
        files += loose
        names += [None] * len(loose)
        for kind in folders_in(folder):
            images = listing.below(kind)
            files += images
            names += [comparable(kind.name)] * len(images)
    classes = sorted({comparable(kind.name) for folder in subsets for kind in folders_in(folder)})
    for name, other in look_alikes(classes):
        log.warning("%s: class folder %r looks like %r, but is a different class", top, name, other)
    number = {name: index for index, name in enumerate(classes)}
    targets = [UNLABELED if name is None else number[name] for name in names]
    _check_not_empty(files, top, listing)
    return image_samples(top, files, targets, classes, image_transform)


@register_dataset
def image_files(
    root: str, subset: str | list[str] | None = None, image_transform: ImageTransform | None = None
) -> Samples:
    """Unlabeled images anywhere below a folder, or below some of its folders.

    Args:
        root: The folder.
        subset: A folder below it or a list of them; None means all of it.
        image_transform: Applied to each image.

    Raises:
        ConfigError: If the root, a subset or its images are missing.
    """
    top = _existing_folder(root)
    folders = [top] if subset is None else _subset_folders(top, subset)
    listing = ImageListing()
    files = [path for folder in folders for path in listing.below(folder)]
    _check_not_empty(files, top, listing)
    return image_samples(top, files, [UNLABELED] * len(files), None, image_transform)


def image_samples(
    top: Path,
    files: list[Path],
    targets: list[int],
    classes: list[str] | None,
    image_transform: ImageTransform | None,
) -> Samples:
    """Builds a data set of image files, which are named by their paths below a folder.

    Args:
        top: The folder.
        files: The files.
        targets: The class index of each, -1 for none.
        classes: The names of the classes.
        image_transform: Applied to each image.
    """
    return Samples(
        ImageReader(ImageFiles(files), image_transform),
        (printable(str(f.relative_to(top) if f.is_relative_to(top) else f)) for f in files),
        np.asarray(targets, dtype=np.int64),
        classes,
    )


class ImageFiles:
    """Decodes image files to RGB.

    Args:
        files: Their paths.
    """

    def __init__(self, files: list[Path]) -> None:
        self.files = PackedNames(map(str, files))

    def __call__(self, position: int, least: int | None = None) -> Pixels:
        """Decodes one: uint8 (H, W, 3); see :func:`~sesemi_like.data.sources.decoding.decode`."""
        return decode(Path(self.files[position]).read_bytes(), least)

    def head(self, position: int, size: int) -> bytes:
        """The first bytes of one."""
        with Path(self.files[position]).open("rb") as file:
            return file.read(size)

    def fingerprint(self, position: int) -> str:
        """Identifies a file and its content by path, size and time of modification."""
        path = Path(self.files[position])
        status = path.stat()
        return f"{printable(str(path.absolute()))} {status.st_size} {status.st_mtime_ns}"


def image_files_of(samples: Samples) -> ImageFiles | None:
    """The files of a data set whose images are files; None of others, and of cached ones."""
    load = file_loader_of(samples)
    return load if isinstance(load, ImageFiles) else None


def _existing_folder(root: str) -> Path:
    top = Path(root)
    if top.is_file():
        raise ConfigError([ConfigProblem("root", root, "is a file; give a folder")])
    if not top.is_dir():
        known = [p.name for p in top.parent.iterdir()] if top.parent.is_dir() else []
        beside = suggest(top.name, known, noun=f"{top.parent} holds") if known else "give a folder"
        raise ConfigError([ConfigProblem("root", root, f"no such folder; {beside}")])
    return top


def _subset_folders(top: Path, subset: str | list[str] | None) -> list[Path]:
    names, folders = subset_names(subset), folders_in(top)
    if names is None:
        return folders
    known = {comparable(folder.name): folder for folder in folders}
    chosen = [known.get(comparable(name), top / name) for name in names]
    problems = [
        ConfigProblem(
            "subset", name, f"no such folder in {top}; {suggest(name, known, noun='it has')}"
        )
        for name, folder in zip(names, chosen, strict=True)
        if not folder.is_dir()
    ]
    if problems:
        raise ConfigError(problems)
    return chosen


def _check_not_empty(files: list[Path], top: Path, listing: ImageListing) -> None:
    listing.log_omissions(top)
    if not files:
        unread = listing.unread
        beside = f"; {unread} are there, in formats that are not supported" if unread else ""
        expected = f"holds no images ({', '.join(sorted(EXTENSIONS))}){beside}"
        raise ConfigError([ConfigProblem("root", str(top), expected)])
