"""Shared by all benchmarks: interleaved timing, tables of ratios, a description of the machine."""

from __future__ import annotations

import gc
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

Case = Callable[[], Any]


@dataclass
class Times:
    """What repeats of a case took, in seconds for each unit of work.

    Attributes:
        wall: Wall-clock seconds.
        cpu: Seconds of CPU, worker processes that have ended included.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def median(self, kind: str = "wall") -> float:
        """The median over the repeats."""
        return statistics.median(getattr(self, kind))


def cpu_seconds() -> float:
    """Seconds of CPU used so far by this process and its children that have ended."""
    own, ended = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime


def measure(case: Case, units: float = 1.0) -> tuple[float, float]:
    """Runs a case once; returns its wall and CPU seconds for each unit of work."""
    gc.collect()
    wait()
    cpu, wall = cpu_seconds(), time.perf_counter()
    case()
    wait()
    return (time.perf_counter() - wall) / units, (cpu_seconds() - cpu) / units


def wait() -> None:
    """Waits until a GPU has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextmanager
def gpu_utilization() -> Iterator[list[float]]:
    """Collects, several times a second, the percentage of time in which a GPU was busy."""
    found: list[float] = []
    command = [
        "nvidia-smi",
        "--query-gpu=utilization.gpu",
        "--format=csv,noheader,nounits",
        "-lms=200",
    ]
    if not torch.cuda.is_available() or shutil.which(command[0]) is None:
        yield found
        return
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield found
        finally:
            process.terminate()
            lines = process.stdout.read().split() if process.stdout else []
            found += [float(line) for line in lines if line.isdigit()]


def runs_in_turn(
    cases: Mapping[str, Callable[[], list[float]]], repeats: int, steps: int
) -> dict[str, Times]:
    """Lets runs that time their own steps take turns, and prints the median step of each.

    Args:
        cases: Functions that train so many steps and return the seconds of those that count.
        repeats: Runs of each.
        steps: Steps of a run.
    """
    times = {name: Times() for name in cases}
    for _ in range(repeats):
        for name, case in cases.items():
            torch.manual_seed(0)
            before = cpu_seconds()
            with gpu_utilization() as busy:
                found = case()
            times[name].wall += found
            times[name].cpu.append((cpu_seconds() - before) / steps)
            note = f", GPU busy {sum(busy) / len(busy):.0f} %" if busy else ""
            print(f"{name}: {statistics.median(found):.4f} s a step{note}", flush=True)
    print()
    return times


def in_own_process(script: str, *arguments: str) -> dict[str, float]:
    """Runs a script in a fresh process and reads the figures that it prints as JSON at last."""
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def interleave(
    cases: Mapping[str, Case], repeats: int, units: float | Mapping[str, float] = 1.0
) -> dict[str, Times]:
    """Runs every case in turn, several times over, after one run of each that is not counted."""
    for case in cases.values():
        case()
    times = {name: Times() for name in cases}
    for _ in range(repeats):
        for name, case in cases.items():
            amount = units if isinstance(units, float | int) else units[name]
            wall, cpu = measure(case, amount)
            times[name].wall.append(wall)
            times[name].cpu.append(cpu)
    return times


def print_machine(*notes: str) -> None:
    """Describes the machine by its properties, and the versions that matter."""
    bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
    parts = [
        f"{os.cpu_count()} CPU cores ({platform.machine()}{', avx512_bf16' if bf16 else ''})",
        f"{torch.get_num_threads()} threads",
        f"Python {platform.python_version()}",
        f"torch {torch.__version__.split('+')[0]}",
    ]
    if torch.cuda.is_available():
        parts.insert(1, torch.cuda.get_device_name())
    print("; ".join([*parts, *notes]) + "\n")


def print_table(
    times: Mapping[str, Times],
    unit: str,
    *,
    scale: float = 1e3,
    kind: str = "cpu",
    against: Mapping[str, str],
) -> None:
    """Prints medians and spread, and for each column of `against` how many times as fast a case is.

    Args:
        times: What was measured.
        unit: What the numbers are, such as "ms an image".
        scale: From seconds to it.
        kind: ``cpu`` or ``wall``: what the ratios compare.
        against: Column title to the case that is compared with.
    """
    titles = ["case", f"wall {unit}, median (min-max)", f"CPU {unit}", *against]
    print("| " + " | ".join(titles) + " |")
    print("| " + " | ".join("---" for _ in titles) + " |")
    for name, found in times.items():
        wall = [value * scale for value in found.wall]
        median = statistics.median(wall)
        cells = [
            name,
            f"{figure(median)} ({figure(min(wall))}-{figure(max(wall))})",
            figure(found.median("cpu") * scale),
            *(
                f"{times[other].median(kind) / found.median(kind):.2f}"
                for other in against.values()
            ),
        ]
        print("| " + " | ".join(cells) + " |")
    print()


def figure(value: float) -> str:
    """Prints a number with three significant digits."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
