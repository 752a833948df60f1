"""The number of worker processes of each loader, limited by the CPUs."""

from __future__ import annotations

import os
from collections.abc import Mapping

AUTO = "auto"
_MAX_FOR_EVALUATION = 4


def usable_cpus(processes: int = 1) -> int:
    """CPUs that each process of a run may use, at least 1.

    Args:
        processes: Processes of the run on this machine.
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    cpus = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, cpus // processes)


def assign_workers(
    requests: Mapping[str, int | str],
    batch_sizes: Mapping[str, int],
    is_lookup: Mapping[str, bool],
    cpus: int,
) -> dict[str, int]:
    """Assigns worker processes to every loader.

    Args:
        requests: `num_workers` of each loader, by split and name (``train.unlabeled``, ``val``): a
            number, which is limited to the CPUs, or ``auto``.
        batch_sizes: Rows of each loader's batches; those of `val` and `test` are not used.
        is_lookup: Whether a loader's samples are only looked up, which takes less time than sending
            them from process to process: ``auto`` is then 0.
        cpus: CPUs that this process may use.

    Returns:
        Workers by loader; ``auto`` divides the CPUs among the train loaders in proportion to their
        batches, at least one each, and gives evaluation up to four.
    """
    train = [name for name in requests if name.startswith("train.") and not is_lookup[name]]
    rows = sum(batch_sizes[name] for name in train)
    workers = {}
    for name, requested in requests.items():
        if requested != AUTO:
            workers[name] = min(int(requested), cpus)
        elif is_lookup[name]:
            workers[name] = 0
        elif name in train:
            workers[name] = max(1, cpus * batch_sizes[name] // max(rows, 1))
        else:
            workers[name] = min(cpus, _MAX_FOR_EVALUATION)
    return workers
