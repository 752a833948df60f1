"""Files of tensors: read with nothing but tensors and plain values in them, or told why not."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch


class UnreadableFileError(ValueError):
    """A file that holds no tensors that can be read; says why in one sentence."""


def read_torch_file(path: str | Path) -> Any:
    """Reads what `torch.save` has written, onto the CPU and with ``weights_only=True``.

    Args:
        path: The file.

    Returns:
        What it holds: tensors, plain values, and lists and dictionaries of them.

    Raises:
        UnreadableFileError: If it cannot be read, is damaged, is another kind of file, or holds
            objects of other kinds, which could run any code.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that torch has not written
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UnreadableFileError(error.strerror or str(error)) from error
    except Exception as error:  # whatever the bytes of another kind of file lead unpickling to
        raise UnreadableFileError(_reason(Path(path), error)) from error


def _reason(path: Path, error: Exception) -> str:
    if path.stat().st_size == 0:
        return "the file is empty"
    if isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path):
        other = re.search(r"(?:GLOBAL|unsupported class|class) ([\w.]+)", str(error))
        what = f" ({other.group(1)})" if other else ""
        return f"it holds objects{what} other than tensors and plain values"
    with path.open("rb") as file:
        is_archive = file.read(2) == b"PK"
    return "the file is damaged or cut off" if is_archive else "it is no file of torch.save"
