"""Every method on a small folder of photographs, as docs/own_images.md sets it up.

    python benchmarks/own_images.py --archive cifar10-train.tar.xz

The archive holds CIFAR-10's training images as train/<class>/<number>.jpg. Each seed draws 12
labeled and 120 unlabeled images of each of five classes from the first 4,500 of the class; the
next 100 of each class choose the best checkpoint, and the last 400 test it. The runs take the
config `tested` of that page with each method. The floor is the better, by validation, of
scikit-learn's classifiers on the pixels of the labeled images. Printed are the mean and standard
deviation over the seeds, and the seconds a run takes once its libraries are imported.
"""

from __future__ import annotations

import argparse
import json
import re
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from common import print_machine
from hydra import compose, initialize_config_dir
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from sesemi_like.cli.command import job
from sesemi_like.config.resolvers import register_resolvers
from sesemi_like.config.store import builtin_configs, register_configs

PAGE = Path(__file__).resolve().parent.parent / "docs" / "own_images.md"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer")
METHODS = ("supervised", "fixmatch", "mean_teacher", "entropy_minimization", "pi_model", "rotation")
LABELLED, UNLABELED = 12, 120
SET_ASIDE = {"val": range(4500, 4600), "test": range(4600, 5000)}
LOOKS = ["run.validate_every=50"]  # so all methods have as many checkpoints to choose from
FLOOR = "scikit-learn on pixels"

Figures = dict[tuple[str, int], list[dict[str, float]]]


def read_archive(archive: Path) -> dict[str, list[bytes]]:
    """Reads the JPEG files of the five classes, in the order of their names."""
    files: dict[str, dict[str, bytes]] = defaultdict(dict)
    with tarfile.open(archive) as tar:
        for member in tar:
            parts = member.name.split("/")
            kind, name = parts[-2:] if member.isfile() and len(parts) > 1 else ("", "")
            if kind in CLASSES and (content := tar.extractfile(member)):
                files[kind][name] = content.read()
    return {kind: [files[kind][name] for name in sorted(files[kind])] for kind in CLASSES}


def lay_out(files: Mapping[str, list[bytes]], root: Path, seed: int) -> None:
    """Writes the folders train, unlabeled, val and test of a seed."""
    draw = np.random.default_rng(seed)
    for kind, images in files.items():
        drawn = draw.permutation(SET_ASIDE["val"].start)[: LABELLED + UNLABELED]
        folders = {
            f"train/{kind}": drawn[:LABELLED],
            "unlabeled": drawn[LABELLED:],
            **{f"{subset}/{kind}": rows for subset, rows in SET_ASIDE.items()},
        }
        for folder, rows in folders.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for row in rows:
                (root / folder / f"{kind}-{row:04d}.jpg").write_bytes(images[row])


def configs_of_the_page(folder: Path) -> None:
    """Writes the config files that the page shows."""
    folder.mkdir()
    for block in re.findall(r"^```yaml\n(# configs/.*?)^```", PAGE.read_text(), re.M | re.S):
        name = block.partition("\n")[0].removeprefix("# configs/")
        (folder / name).write_text(block)


def train(configs: Path, name: str, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """Runs a config as the command does; returns its summary."""
    given = [f"hydra.searchpath=[file://{builtin_configs()}]", f"run.dir={folder}", *overrides]
    with initialize_config_dir(str(configs.resolve()), version_base="1.3"):
        config = compose(name, overrides=given)
    job(config)
    (path,) = folder.glob("*/*/summary.json")
    summary: dict[str, Any] = json.loads(path.read_text())
    return summary


def figures_of(summary: dict[str, Any]) -> dict[str, float]:
    """The accuracies and seconds of a run."""
    return {
        "val": summary["best"]["score"],
        "test": summary["metrics"]["test/top1"],
        "seconds": summary["seconds"],
    }


def pixels(folder: Path) -> tuple[np.ndarray, list[str]]:
    """Reads images as rows of numbers in [0, 1], and their classes."""
    paths = sorted(folder.glob("*/*.jpg"))
    rows = np.stack([np.asarray(Image.open(path)).ravel() / 255 for path in paths])
    return rows, [path.parent.name for path in paths]


def floor(root: Path) -> dict[str, float]:
    """Fits classifiers to the labeled images; returns the better one's figures."""
    train, val, test = (pixels(root / subset) for subset in ("train", "val", "test"))
    peers = [model(C=c) for c in (0.01, 0.1, 1, 10) for model in (LogisticRegression, SVC)]
    for peer in peers:
        peer.set_params(max_iter=10_000).fit(*train)
    best = max(peers, key=lambda peer: peer.score(*val))
    return {"val": best.score(*val), "test": best.score(*test)}


def cases(arguments: argparse.Namespace) -> Iterator[tuple[str, int, list[str]]]:
    """Lists method, steps and overrides of the runs of a seed."""
    for steps in arguments.steps:
        for method in arguments.methods:
            yield method, steps, [f"method={method}", f"run.num_iterations={steps}", *LOOKS]


def measure(arguments: argparse.Namespace, temporary: Path) -> Figures:
    """Runs everything, and prints the figures of each run as it ends."""
    figures: Figures = defaultdict(list)
    files = read_archive(arguments.archive)
    configs_of_the_page(temporary / "configs")
    configs = arguments.configs or temporary / "configs"
    for seed in arguments.seeds:
        root = temporary / f"data-{seed}"
        lay_out(files, root, seed)
        figures[FLOOR, 0].append(floor(root))
        for method, steps, overrides in cases(arguments):
            where = [
                f"run.data_root={root}",
                f"run.seed={seed}",
                f"run.cache_dir={temporary}/cache",
            ]
            number = f"learner.hparams.num_classes={len(CLASSES)}"
            found = figures_of(
                train(
                    configs,
                    "tested",
                    temporary / f"{method}-{steps}-{seed}",
                    [*overrides, *where, number, *arguments.extra],
                )
            )
            figures[method, steps].append(found)
            print(f"{method}, {steps} steps, seed {seed}: {found}", flush=True)
    return figures


def print_figures(figures: Figures) -> None:
    """Prints the table, best test accuracy first within a number of steps."""
    print("\n| method | steps | val top-1 | test top-1 | lowest | seconds a run |")
    print("| --- | --- | --- | --- | --- | --- |")
    for (method, steps), found in sorted(
        figures.items(), key=lambda item: (item[0][1], -np.mean([f["test"] for f in item[1]]))
    ):
        val, test = ([f[split] for f in found] for split in ("val", "test"))
        seconds = f"{np.mean([f['seconds'] for f in found]):.0f}" if steps else ""
        spreads = (f"{np.mean(values):.3f} ± {np.std(values):.3f}" for values in (val, test))
        print(
            f"| {' | '.join([method, str(steps or ''), *spreads, f'{min(test):.3f}', seconds])} |"
        )


def main() -> None:
    """Runs everything and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archive", type=Path, required=True, help="train/<class>/<number>.jpg")
    parser.add_argument("--methods", nargs="+", default=METHODS, help="configs of the group method")
    parser.add_argument("--steps", type=int, nargs="+", default=[300, 1000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--configs", type=Path, help="a folder with another tested.yaml")
    parser.add_argument("--extra", nargs="*", default=[], help="further overrides of the runs")
    arguments = parser.parse_args()
    register_configs()
    register_resolvers()
    with tempfile.TemporaryDirectory() as temporary:
        figures = measure(arguments, Path(temporary))
    print_machine(f"seeds {arguments.seeds}")
    print_figures(figures)


if __name__ == "__main__":
    main()
