"""Start-up: what the command takes before the first step, as a share of `import torch` alone.

    python benchmarks/startup.py

Runs the commands in turn, several times over, and prints medians, spread, and the ratio to
`python -c "import torch"`, which is the floor of any program that trains. The goal is a third for
`-h` and `--info`. The last rows say what of a run's own imports is torch's first optimizer, which
imports torch._dynamo, and what is Lightning's.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import time

FLOOR = "python -c 'import torch'"
COMMANDS = {
    FLOOR: ["-c", "import torch"],
    "open_cli -h": ["-m", "sesemi_like", "-h"],
    "open_cli -cn imagewoof --info": ["-m", "sesemi_like", "-cn", "imagewoof", "--info"],
    "open_cli -cn quickstart --cfg job": ["-m", "sesemi_like", "-cn", "quickstart", "--cfg", "job"],
    "python -c 'import sesemi_like'": ["-c", "import sesemi_like"],
    "import torch, torch._dynamo": ["-c", "import torch, torch._dynamo"],
    "import pytorch_lightning": ["-c", "import pytorch_lightning"],
    "import sesemi_like.run.execute": ["-c", "import sesemi_like.run.execute"],
}


def measure(arguments: list[str]) -> tuple[float, float]:
    """Runs Python once; returns its wall and CPU seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measures every command in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    repeats = parser.parse_args().repeats
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for arguments in COMMANDS.values():
        measure(arguments)  # the first start reads files from the disk
    for _ in range(repeats):
        for name, arguments in COMMANDS.items():
            times[name].append(measure(arguments))
    print(
        f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}, ", end=""
    )
    print(f"{repeats} interleaved repeats\n")
    print("| command | wall s, median (min-max) | CPU s, median | share of import torch |")
    print("| --- | --- | --- | --- |")
    floor = statistics.median(wall for wall, _ in times[FLOOR])
    for name, runs in times.items():
        walls, median = [w for w, _ in runs], statistics.median(w for w, _ in runs)
        cpu = statistics.median(c for _, c in runs)
        spread = f"{median:.2f} ({min(walls):.2f}-{max(walls):.2f})"
        print(f"| `{name}` | {spread} | {cpu:.2f} | {median / floor:.2f} |")


if __name__ == "__main__":
    main()
