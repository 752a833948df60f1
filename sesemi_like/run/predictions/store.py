"""The parts of predictions in a folder: which are finished and whole, and writing one."""

from __future__ import annotations

import re
import shutil
import zlib
from pathlib import Path

from ...files import replacing

_NAME = re.compile(r"part-(\d{8})-([0-9a-f]{8})")


class PartStore:
    """Files of parts, each named by its number and a checksum of its content.

    Args:
        folder: Where they are; it is created with the first one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def finished(self) -> dict[int, Path]:
        """The whole parts by number; what has another content than was written is removed."""
        found: dict[int, Path] = {}
        for path in sorted(self.folder.glob("part-*")):
            named = _NAME.fullmatch(path.name)
            if named and f"{zlib.crc32(path.read_bytes()):08x}" == named.group(2):
                found[int(named.group(1))] = path
            else:
                path.unlink()
        return found

    def write(self, number: int, content: bytes) -> None:
        """Writes a part, which appears whole or not at all.

        Args:
            number: Its number, from 0.
            content: Its bytes.
        """
        with replacing(self.folder / f"part-{number:08}-{zlib.crc32(content):08x}") as file:
            file.write(content)

    def remove(self) -> None:
        """Removes all parts and their folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
