"""Two checkouts side by side: what a change costs or gains in a step, its views, and at start-up.

    git worktree add --detach ../before main~20
    OMP_NUM_THREADS=1 python benchmarks/before_after.py --before ../before --root CIFAR10/train

Every figure is taken in a fresh process, with the package and the benchmarks of its checkout; the
checkouts take turns, several times over. Prints medians, ranges, and how many times as fast this
checkout is. Five repeats take about ten minutes on an idle core.
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
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]

SCRIPT = """
import json, warnings
warnings.simplefilter("ignore")
{body}
print(json.dumps(seconds))
"""
OVERHEAD = """
import overhead
overhead.tune_process()
seconds = overhead.ours(200, {method!r})
"""
TRAINING = """
import statistics, training
from pathlib import Path
from fixmatch_cases import ours
training.tune_process()
seconds = statistics.median(ours(training.read_job(Path({root!r}), 16, 11)))
"""
VIEWS = """
import statistics, time, torch
from overhead import tune_process
from sesemi_like.views import strong, weak
tune_process()
torch.set_num_threads(1)
images = torch.randint(256, ({batch}, 3, 32, 32), dtype=torch.uint8)
views = [view(mean=[0.5, 0.4, 0.3], std=[0.2, 0.2, 0.2]) for view in (weak, strong)]
generator, rounds = torch.Generator().manual_seed(0), []
for _ in range(30):
    began = time.perf_counter()
    for view in views:
        view(images, generator)
    rounds.append(time.perf_counter() - began)
seconds = statistics.median(rounds[5:])
"""
COMMANDS = {
    "open_cli -h": ["-m", "sesemi_like", "-h"],
    "open_cli -cn quickstart --info": ["-m", "sesemi_like", "-cn", "quickstart", "--info"],
    "open_cli -cn quickstart --cfg job": ["-m", "sesemi_like", "-cn", "quickstart", "--cfg", "job"],
    "import sesemi_like": ["-c", "import sesemi_like"],
    "import sesemi_like.learners": ["-c", "import sesemi_like.learners"],
    "open_cli -cn quickstart, 200 steps": [
        "-m", "sesemi_like", "-cn", "quickstart", "run.gpus=0", "run.num_iterations=200",
    ],
}  # fmt: skip


def environment(checkout: Path) -> dict[str, str]:
    """Returns the environment in which a checkout's package and benchmarks are imported."""
    paths = os.pathsep.join([str(checkout), str(checkout / "benchmarks")])
    return {**os.environ, "PYTHONPATH": paths}


def run_python(arguments: list[str], checkout: Path) -> str:
    """Runs Python on a checkout in an empty folder; returns what it printed.

    Raises:
        RuntimeError: It failed; the message ends with its last lines.
    """
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder, env=environment(checkout), capture_output=True, text=True,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{checkout}: {arguments} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def step_seconds(body: str, checkout: Path) -> float:
    """Runs a case of a benchmark of a checkout; returns its seconds per step."""
    printed = run_python(["-c", SCRIPT.format(body=body)], checkout)
    return float(json.loads(printed.splitlines()[-1]))


def command_seconds(arguments: list[str], checkout: Path) -> float:
    """Runs Python on a checkout; returns the wall seconds, start-up included."""
    start = time.perf_counter()
    run_python(arguments, checkout)
    return time.perf_counter() - start


def cases(root: Path | None) -> dict[str, Callable[[Path], float]]:
    """Lists what is measured, by name; training on images only where there are some."""
    bodies = {
        f"step of a tiny network, {method} (overhead.py)": OVERHEAD.format(method=method)
        for method in ("supervised", "fixmatch")
    }
    if root is not None:
        body = TRAINING.format(root=str(root.resolve()))
        bodies["step of FixMatch, WRN-28-2 (training.py)"] = body
    bodies |= {
        f"weak and strong views of {batch} images (views.py)": VIEWS.format(batch=batch)
        for batch in (112, 448)
    }
    steps = {name: partial(step_seconds, body) for name, body in bodies.items()}
    commands = {name: partial(command_seconds, given) for name, given in COMMANDS.items()}
    return {**steps, **commands}


def measure(root: Path | None, before: Path, repeats: int) -> dict[str, dict[str, list[float]]]:
    """Measures both checkouts in turn; returns the seconds by case and checkout."""
    sides = {"before": before.resolve(), "after": HERE}
    times: dict[str, dict[str, list[float]]] = {
        name: {side: [] for side in sides} for name in cases(root)
    }
    for _ in range(repeats):
        for name, case in cases(root).items():
            for side, checkout in sides.items():
                times[name][side].append(case(checkout))
                print(f"{name}, {side}: {times[name][side][-1]:.4f} s", file=sys.stderr, flush=True)
    return times


def print_rows(times: Mapping[str, Mapping[str, list[float]]]) -> None:
    """Prints a row for each case."""
    print("| case | before s, median (min-max) | after s | before / after |")
    print("| --- | --- | --- | --- |")
    for name, sides in times.items():
        medians = {side: statistics.median(runs) for side, runs in sides.items()}
        cells = [f"{medians[s]:.4f} ({min(r):.4f}-{max(r):.4f})" for s, r in sides.items()]
        print(f"| {name} | {' | '.join(cells)} | {medians['before'] / medians['after']:.2f} |")


def main() -> None:
    """Measures both checkouts in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, required=True, help="another checkout")
    parser.add_argument("--root", type=Path, help="<root>/<class>/<image>, 32x32")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    times = measure(options.root, options.before, options.repeats)
    machine = f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}"
    print(f"{machine}, {options.repeats} interleaved repeats\n")
    print_rows(times)


if __name__ == "__main__":
    main()
