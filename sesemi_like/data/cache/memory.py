"""How much more memory this process may use: what the machine has free, within its container."""

from __future__ import annotations

from pathlib import Path

import psutil

_CGROUPS = Path("/sys/fs/cgroup")


def free_memory(own: Path = Path("/proc/self/cgroup"), cgroups: Path = _CGROUPS) -> int:
    """Bytes that can be allocated without swapping and without the system ending a process.

    The page cache counts as free. On Linux the limits of control groups (version 2), as containers
    and SLURM set them, are respected.

    Args:
        own: The file that names this process's control group.
        cgroups: Where control groups are mounted.
    """
    free = int(psutil.virtual_memory().available)
    rooms = [_room_in(group) for group in _groups(own, cgroups)]
    return min([free, *(number for number in rooms if number is not None)])


def _groups(own: Path, cgroups: Path) -> list[Path]:
    """This process's control group and those around it."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    path = next((line[3:] for line in lines if line.startswith("0::")), "/")
    group = cgroups / path.lstrip("/")
    return [g for g in (group, *group.parents) if g.is_relative_to(cgroups)]


def _room_in(group: Path) -> int | None:
    """Bytes that a group may still allocate; None where it has no limit."""
    limit, used = _number(group / "memory.max"), _number(group / "memory.current")
    if limit is None or used is None:
        return None
    statistics = (group / "memory.stat").read_text().split()
    cached = dict(zip(statistics[::2], map(int, statistics[1::2]), strict=False))
    return max(0, limit - used + cached.get("inactive_file", 0))


def _number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
