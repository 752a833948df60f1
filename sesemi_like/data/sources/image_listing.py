"""Listing of image files below folders, and of what is left out."""

from __future__ import annotations

import functools
import logging
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ...errors import ConfigError, ConfigProblem

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
)
_OTHER_IMAGES = frozenset(
    {".heic", ".heif", ".avif", ".jfif", ".jpe", ".jp2", ".jxl", ".tga", ".pbm", ".pnm", ".svg"}
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".dcm", ".npy"}
)
# Folders of file managers, archives and network storage, which mostly hold copies of images.
_SYSTEM_FOLDERS = frozenset(
    {"@eadir", "__macosx", "#recycle", "#snapshot", "$recycle.bin", "lost+found"}
    | {"system volume information"}
)
_SHOWN = 5

log = logging.getLogger(__name__)


class ImageListing:
    """Lists image files, and counts what it leaves out: hidden files and folders, other formats."""

    def __init__(self) -> None:
        self.hidden: Counter[str] = Counter()
        self.others: Counter[str] = Counter()

    def below(self, folder: Path) -> list[Path]:
        """The image files anywhere below a folder, in order.

        Raises:
            ConfigError: If a folder cannot be read.
        """
        images: list[Path] = []
        for place, folders, names in os.walk(folder, onerror=_raise_problem):
            self._count_hidden(place, folders)
            folders[:] = [name for name in folders if not is_hidden(name)]
            images += self._images(place, names)
        return sorted(images)

    def within(self, folder: Path) -> list[Path]:
        """The image files in a folder itself, in order.

        Raises:
            ConfigError: If it cannot be read.
        """
        names = _names(folder)
        self._count_hidden(folder, names)
        return sorted(self._images(folder, names))

    def _count_hidden(self, place: str | Path, names: Iterable[str]) -> None:
        for name in filter(is_hidden, names):
            self.hidden[name] += sum(map(_count_images, os.walk(os.path.join(place, name))))

    def _images(self, place: str | Path, names: Iterable[str]) -> list[Path]:
        images = []
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            if suffix in EXTENSIONS and (path := Path(place, name)).is_file():
                if is_hidden(name):
                    self.hidden["hidden files"] += 1
                else:
                    images.append(path)
            elif suffix in _OTHER_IMAGES:
                self.others[suffix] += 1
        return images

    def log_omissions(self, top: Path) -> None:
        """Logs what was left out below a folder, if anything.

        Args:
            top: The folder.
        """
        hidden = {name: count for name, count in self.hidden.items() if count}
        if hidden:
            _log_once(
                f"{top}: left out {sum(hidden.values()):,} images in hidden and system folders "
                f"({', '.join(sorted(hidden)[:_SHOWN])})"
            )
        if self.others:
            _log_once(f"{top}: left out {self.unread}, which are not read")

    @property
    def unread(self) -> str:
        """The images of unsupported formats that were found, as in ``3 .heic files``."""
        return ", ".join(f"{n:,} {suffix} files" for suffix, n in self.others.most_common(_SHOWN))


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or created by a system."""
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder that are neither hidden nor created by systems, in order.

    Raises:
        ConfigError: If it cannot be read.
    """
    return sorted(
        folder / name for name in _names(folder) if not is_hidden(name) and (folder / name).is_dir()
    )


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError as error:
        raise _unreadable_folder(error) from error


def _count_images(walked: tuple[str, list[str], list[str]]) -> int:
    return sum(os.path.splitext(name)[1].lower() in EXTENSIONS for name in walked[2])


def _raise_problem(error: OSError) -> None:
    raise _unreadable_folder(error) from error


def _unreadable_folder(error: OSError) -> ConfigError:
    expected = f"this folder cannot be read: {error.strerror or error}"
    return ConfigError([ConfigProblem("root", str(error.filename), expected)])


@functools.cache
def _log_once(text: str) -> None:
    """Logs a text once, though every loader of a folder repeats it."""
    log.info("%s", text)
