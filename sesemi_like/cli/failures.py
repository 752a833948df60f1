"""Failures that lie with the machine or its settings, told in a sentence, not a stack trace."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

_ADVICE = {
    errno.ENOSPC: "free some space, or give another run.dir",
    errno.EDQUOT: "free some space, or give another run.dir",
    errno.EFBIG: "files may not be that large here, see `ulimit -f`",
    errno.EACCES: "this user may not do that there",
    errno.EPERM: "this user may not do that there",
    errno.EROFS: "give a folder that can be written to",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EMFILE: "raise the limit, see `ulimit -n`, or lower num_workers",
    errno.EIO: "the disk or its connection fails",
}
_MEMORY = "memory is full; a smaller run.batch_size_per_gpu needs less"


def failure(error: BaseException) -> str | None:
    """Tells what keeps a run from going on where that is no mistake of this program.

    Args:
        error: What was raised; what it was raised from, or beside, is looked at too.

    Returns:
        A sentence with the file, the port or the device, or None for any other error.
    """
    return next(filter(None, map(_told, _chain(error))), None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _told(error: BaseException) -> str | None:
    text = str(error)
    if "EADDRINUSE" in text or getattr(error, "errno", None) == errno.EADDRINUSE:
        port = os.environ.get("MASTER_PORT", "the one chosen")
        return f"MASTER_PORT {port} is in use by another program; set it to a free one"
    if isinstance(error, OSError) and error.errno in _ADVICE:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{os.strerror(error.errno)}; {_ADVICE[error.errno]}"
    if type(error).__name__ == "OutOfMemoryError":  # torch's, known without importing torch
        return f"the device's {_MEMORY} ({text.strip().splitlines()[0]})"
    if isinstance(error, MemoryError):
        return f"the machine's {_MEMORY}"
    return None
