"""Samples in tar files, as WebDataset lays them out: consecutive files of one name make a sample.

Of `a/7.jpg` and `a/7.cls` the key is `a/7`, and `jpg` and `cls` are its fields; what follows the
first dot of a file's name is the field, in lower case.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import IO

_NAME = re.compile(r"((?:.*/)?[^.]+)\.([^/]*)")
_META = re.compile(r"__[^/]*__($|/)")  # WebDataset notes things of a shard itself in such files

Fields = dict[str, bytes]


def read_samples(stream: IO[bytes]) -> Iterator[tuple[str, Fields]]:
    """Reads the samples of a tar file, compressed or not.

    Args:
        stream: The file; it is read in order, and need not be seekable.

    Yields:
        The key of each sample and its fields.

    Raises:
        ValueError: A sample has a field twice.
        tarfile.TarError: It is no tar file, or torn.
    """
    for key, files in groupby(_read_files(stream), key=lambda file: file[0]):
        fields: Fields = {}
        for _, field, content in files:
            if field in fields:
                raise ValueError(f"{key}.{field} is there twice")
            fields[field] = content
        yield key, fields


def _read_files(stream: IO[bytes]) -> Iterator[tuple[str, str, bytes]]:
    """The key, the field and the content of each file."""
    with tarfile.open(fileobj=stream, mode="r|*") as tar:
        for member in tar:
            name = _NAME.fullmatch(member.name)
            file = tar.extractfile(member) if member.isreg() and name else None
            if file is not None and name is not None and not _META.match(member.name):
                yield name[1], name[2].lower(), file.read()


def write_sample(tar: tarfile.TarFile, key: str, fields: Mapping[str, bytes]) -> None:
    """Adds a sample to a tar file.

    Args:
        tar: A file that is open for writing.
        key: The sample's key.
        fields: Its fields.
    """
    for field, content in fields.items():
        member = tarfile.TarInfo(f"{key}.{field}")
        member.size, member.mode = len(content), 0o444
        tar.addfile(member, io.BytesIO(content))
