"""Peak memory of FixMatch with WRN-28-2: this package, semilearn, and a bare PyTorch loop.

    python benchmarks/memory.py --root CIFAR10/train

Every case trains a few steps in a process of its own; reported is the peak
of resident memory, imports included (without worker processes), and on a GPU that of memory
allocated there.
"""

from __future__ import annotations

import argparse
import json
import resource
import warnings
from pathlib import Path

import torch
from common import in_own_process, print_machine
from fixmatch_cases import CASES, read_job

from sesemi_like.devices import tune_process

STEPS = 5


def peak(root: Path, batch: int, name: str) -> dict[str, float]:
    """Trains a few steps in this process and returns the peaks in MiB."""
    warnings.simplefilter("ignore")
    tune_process()
    CASES[name](read_job(root, batch, STEPS))
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"resident": resident / 2**20, "gpu": gpu / 2**20}


def main() -> None:
    """Runs every case in its own process and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="<root>/<class>/<image>, 32x32")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(peak(options.root, options.batch, options.case)))
        return
    print_machine(f"batch {options.batch} + 7 x {options.batch}, {STEPS} steps")
    print("| case | MiB resident at most | MiB on the GPU at most |\n| --- | --- | --- |")
    for name in CASES:
        given = ("--root", str(options.root), "--batch", str(options.batch), "--case", name)
        found = in_own_process(__file__, *given)
        print(f"| {name} | {found['resident']:.0f} | {found['gpu']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
