"""Failures of the machine or its settings, reported in a sentence without a stack trace."""

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


def failure_reason(error: BaseException) -> str | None:
    """Explains an error that lies with the machine or its settings, not with this program.

    Args:
        error: What was raised; its causes, and errors it was raised while handling, count as well.

    Returns:
        A sentence with the file, the port or the device, or None for any other error.
    """
    return next(filter(None, map(_reason, _chain(error))), None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _reason(error: BaseException) -> str | None:
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
