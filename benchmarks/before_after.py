"""Two checkouts side by side: what a change costs or gains in a step, a run and at start-up.

    git worktree add --detach ../before main~20
    python benchmarks/before_after.py --before ../before --root CIFAR10/train

Every figure is taken in a fresh process of its own; the checkouts take turns, several times over.
Prints medians, spread, and how many times as fast this checkout is.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]

STEP = """
import json, statistics, warnings
warnings.simplefilter("ignore")
from sesemi_like.devices import tune_process
tune_process()
{body}
print(json.dumps(seconds))
"""
OVERHEAD = "import overhead; seconds = overhead.ours(400, {method!r})"
TRAINING = (
    "from pathlib import Path; from fixmatch_cases import ours, read_job;"
    "seconds = statistics.median(ours(read_job(Path({root!r}), 16, 15)))"
)


def environment(checkout: Path) -> dict[str, str]:
    """The environment in which a checkout's package and benchmarks are imported."""
    paths = os.pathsep.join([str(checkout), str(checkout / "benchmarks")])
    return {**os.environ, "PYTHONPATH": paths}


def step_seconds(body: str, checkout: Path) -> float:
    """Runs a case of a benchmark of a checkout; returns its seconds a step."""
    command = [sys.executable, "-c", STEP.format(body=body)]
    done = subprocess.run(
        command, env=environment(checkout), check=True, capture_output=True, text=True
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def command_seconds(arguments: list[str], checkout: Path) -> float:
    """Runs the command of a checkout in an empty folder; returns its wall seconds."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "sesemi_like", *arguments],
            cwd=folder, env=environment(checkout), check=True, capture_output=True,
        )  # fmt: skip
        return time.perf_counter() - start


def cases(root: Path | None) -> dict[str, Callable[[Path], float]]:
    """What is measured, by name; training on images only where there are some."""
    found: dict[str, Callable[[Path], float]] = {
        f"step of a tiny network, {method} (overhead.py)": partial(
            step_seconds, OVERHEAD.format(method=method)
        )
        for method in ("supervised", "fixmatch")
    }
    if root is not None:
        body = TRAINING.format(root=str(root.resolve()))
        found["step of FixMatch, WRN-28-2 (training.py)"] = partial(step_seconds, body)
    commands = {"-h": ["-h"], "--info": ["-cn", "quickstart", "--info"]}
    found |= {
        f"open_cli {name}": partial(command_seconds, given) for name, given in commands.items()
    }
    found["open_cli -cn quickstart"] = partial(command_seconds, ["-cn", "quickstart", "run.gpus=0"])
    return found


def main() -> None:
    """Measures both checkouts in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, required=True, help="another checkout")
    parser.add_argument("--root", type=Path, help="<root>/<class>/<image>, 32x32")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    sides = {"before": options.before.resolve(), "after": HERE}
    times = {name: {side: [] for side in sides} for name in cases(options.root)}
    for _ in range(options.repeats):
        for name, case in cases(options.root).items():
            for side, checkout in sides.items():
                times[name][side].append(case(checkout))
                print(f"{name}, {side}: {times[name][side][-1]:.4f} s", file=sys.stderr, flush=True)
    print(
        f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}, ", end=""
    )
    print(f"{options.repeats} interleaved repeats\n")
    print("| case | before s, median (min-max) | after s | before / after |")
    print("| --- | --- | --- | --- |")
    for name, found in times.items():
        middle = {side: statistics.median(runs) for side, runs in found.items()}
        cells = [f"{middle[s]:.4f} ({min(r):.4f}-{max(r):.4f})" for s, r in found.items()]
        print(f"| {name} | {' | '.join(cells)} | {middle['before'] / middle['after']:.2f} |")


if __name__ == "__main__":
    main()
