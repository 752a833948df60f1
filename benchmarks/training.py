"""Whole-run FixMatch throughput: this package, semilearn, and a bare PyTorch loop.

    python benchmarks/training.py --root CIFAR10/train
    python benchmarks/training.py --root CIFAR10/train --batch 64 --steps 60     # for a GPU

WRN-28-2 on 32x32 images, batches of 16 labeled and 7 x 16 unlabeled images. A run is everything
that a step takes: loading, views, forwards, gradients, optimizer, EMA, logging. The first three
steps of a run are left out. Runs take turns, several times over.
"""

from __future__ import annotations

import argparse
import warnings
from functools import partial
from pathlib import Path

from common import print_machine, print_table, runs_in_turn
from fixmatch_cases import CASES, read_job

from sesemi_like.devices import tune_process


def main() -> None:
    """Runs every case in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="<root>/<class>/<image>, 32x32")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    tune_process()
    job = read_job(options.root, options.batch, options.steps)
    cases = {name: partial(case, job) for name, case in CASES.items()}
    times = runs_in_turn(cases, options.repeats, job.steps)
    print_machine(
        f"batch {job.batch} + 7 x {job.batch}, {options.repeats} runs of {job.steps} steps"
    )
    columns = {"steps/s over semilearn": "semilearn 0.3.2, its defaults"}
    columns |= {f"over the {name}": name for name in CASES if name.startswith("bare")}
    print_table(times, "s a step", scale=1, kind="wall", against=columns)


if __name__ == "__main__":
    main()
