"""The quickstart against its baselines: test accuracy with few labels, on the same splits.

    python benchmarks/quickstart.py --seeds 0 1 2 3 4 --labels 4

For every seed `open_cli -cn quickstart` is run with each of `--methods` (FixMatch, and its baseline
`method=supervised`, which has the same network, augmentation, steps and EMA), and scikit-learn's
semi-supervised classifiers learn from the labels that run wrote to `labels.csv`. Printed are the
mean and standard deviation of the accuracy on the 360 test digits, and the wall time of a run,
start-up included.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC

METHODS = ["fixmatch", "supervised"]


def run_quickstart(method: str, seed: int, labels: int, folder: Path, extra: list[str]) -> dict:
    """Runs the command as a user does; returns its summary, wall time and run folder."""
    parent = folder / f"{method}-{seed}"
    command = [
        sys.executable, "-m", "sesemi_like", "-cn", "quickstart", f"method={method}",
        f"run.seed={seed}", f"data.label_seed={seed}", f"data.labels_per_class={labels}",
        f"run.dir={parent}", *extra,
    ]  # fmt: skip
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    (summary,) = parent.glob("*/*/summary.json")
    return {**json.loads(summary.read_text()), "wall": seconds, "run": summary.parent}


def chosen_rows(run: Path) -> np.ndarray:
    """Reads which digits kept their labels."""
    with (run / "labels.csv").open(newline="") as file:
        return np.array([int(r["id"]) for r in csv.DictReader(file) if r["loader"] == "supervised"])


def peers() -> dict[str, BaseEstimator]:
    """scikit-learn's classifiers that the quickstart is measured against."""
    return {
        "SVM (RBF) on the labels alone": SVC(),
        "LabelSpreading (kNN, 7)": LabelSpreading(kernel="knn", n_neighbors=7),
        "LabelSpreading (RBF, gamma 20)": LabelSpreading(kernel="rbf", gamma=20),
        "SelfTraining (SVM)": SelfTrainingClassifier(SVC(probability=True, random_state=0)),
    }


def peer_accuracies(seed: int, rows: np.ndarray) -> dict[str, float]:
    """Fits every peer on the split and labels of a run; returns the test accuracies."""
    content = load_digits()
    images, labels = content.data / 16, content.target
    train, test = train_test_split(
        np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=seed
    )
    shown = np.where(np.isin(train, rows), labels[train], -1)
    accuracies = {}
    for name, peer in peers().items():
        fitted = shown >= 0 if isinstance(peer, SVC) else slice(None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peer.fit(images[train][fitted], shown[fitted])
        accuracies[name] = float(peer.score(images[test], labels[test]))
    return accuracies


def main() -> None:
    """Runs everything and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--labels", type=int, default=4, help="labels per class")
    parser.add_argument("--methods", nargs="+", default=METHODS, help="configs of the group method")
    parser.add_argument("--extra", nargs="*", default=[], help="further overrides of the runs")
    arguments = parser.parse_args()
    accuracies: dict[str, list[float]] = {}
    walls: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for seed in arguments.seeds:
            for method in arguments.methods:
                run = run_quickstart(
                    method, seed, arguments.labels, Path(temporary), arguments.extra
                )
                name = f"quickstart, method={method}"
                accuracies.setdefault(name, []).append(run["metrics"]["test/top1"])
                walls.setdefault(name, []).append(run["wall"])
            for name, value in peer_accuracies(seed, chosen_rows(run["run"])).items():
                accuracies.setdefault(name, []).append(value)
            print({name: round(values[-1], 3) for name, values in accuracies.items()}, flush=True)
    print(f"\n{os.cpu_count()} CPUs, {platform.machine()}; seeds {arguments.seeds}, ", end="")
    print(f"{arguments.labels} labels a class, 360 test digits\n")
    print("| method | test top-1, mean ± s.d. | lowest | seconds a run |")
    print("| --- | --- | --- | --- |")
    for name, values in sorted(accuracies.items(), key=lambda item: -np.mean(item[1])):
        seconds = f"{np.mean(walls[name]):.0f}" if name in walls else ""
        spread = f"{np.mean(values):.3f} ± {np.std(values):.3f}"
        print(f"| {name} | {spread} | {min(values):.3f} | {seconds} |")


if __name__ == "__main__":
    main()
