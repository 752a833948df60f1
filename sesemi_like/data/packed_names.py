"""Many names in one array of bytes, which worker processes share."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt


class PackedNames(Sequence[str]):
    """An immutable sequence of texts: their bytes one after the other, and where each ends.

    A list would be copied by every forked worker process, text by text as it is read, since reading
    a text changes its reference count; N texts of L bytes take N (L + 8) bytes here, once.

    Args:
        texts: The texts; file names that are not UTF-8 keep their bytes.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        content, ends = bytearray(), array("q", [0])
        for text in texts:
            content += text.encode("utf-8", "surrogateescape")
            ends.append(len(content))
        self._bytes: npt.NDArray[np.uint8] = np.frombuffer(content, dtype=np.uint8)
        self._ends: npt.NDArray[np.int64] = np.frombuffer(ends, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]  # negative ones count from the end; raises IndexError
        content = self._bytes[self._ends[place] : self._ends[place + 1]].tobytes()
        return content.decode("utf-8", "surrogateescape")
