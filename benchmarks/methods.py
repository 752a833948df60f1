"""Every method at equal steps on the same images and labels: accuracy, cost, and pseudo-labels.

    python benchmarks/methods.py digits --labels 1 4 10 --seeds 0 1 2 3 4
    python benchmarks/methods.py cifar --root CIFAR10/train --labels 4 40 --seeds 0 1 2
    python benchmarks/methods.py steps --repeats 3

`digits` runs the quickstart with each config of the group `method`, beside scikit-learn's
semi-supervised classifiers, which learn from the same labels; accuracy is that on the 360 test
digits. `cifar` trains a small network on CIFAR-10's training images, of which the last 500 of each
class, by file name, are set aside for testing; with `--peers` semilearn's own algorithms are
trained too, on the same images, labels, network, batches, optimizer and steps.

`steps` trains each method for a few steps on the digits, in turn, and compares a step with that of
FixMatch.

Of the last fifth of a run are given, where a head makes pseudo-labels: the share of rows that were
used, how many of these pseudo-labels were right, both weighted, and their balance, the entropy of
their classes over that of the most even ones. Seconds a step are medians, and count for little
where several runs share a machine. Every run is appended to `--out` as a line of JSON, and is not
made again if it is there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = 10
HELD_OUT = 500
PEERS = ("fixmatch", "flexmatch", "freematch", "softmatch")


def methods() -> list[str]:
    """The configs of the group `method` that read the loaders of every data set."""
    from sesemi_like.config.store import builtin_configs

    found = sorted(path.stem for path in (builtin_configs() / "method").glob("*.yaml"))
    return [name for name in found if name != "sesemi"]


def run_ours(job: Mapping[str, Any]) -> dict[str, Any]:
    """Runs a config in this process; returns its accuracy and what its pseudo-labels were like."""
    import torch
    from fixmatch_cases import StepTimes, compose_config, extra_callback
    from omegaconf import OmegaConf
    from pseudo_labels import PseudoLabelQuality

    import sesemi_like
    from sesemi_like.run.execute import run

    torch.set_num_threads(job["threads"])
    folder = tempfile.mkdtemp()
    try:
        words = [*job["words"], f"method={job['method']}", f"run.dir={folder}"]
        config = compose_config(job["config"], *words)
        for key, dataset in job.get("datasets", {}).items():
            OmegaConf.update(config, f"data.{key}.dataset", dataset, merge=False)
        hidden = {**config.data.train.unlabeled.dataset, "hide_labels": False}
        times, quality = StepTimes(), PseudoLabelQuality(sesemi_like.dataset(**hidden))
        with extra_callback(times), extra_callback(quality), quiet():
            run(config)
        (file,) = Path(folder).glob("*/*/summary.json")
        summary = json.loads(file.read_text())
    finally:
        shutil.rmtree(folder)
    seconds = statistics.median(np.diff(times.ends[3:]))
    top1 = summary["metrics"]["test/top1"]
    return {"top1": top1, "seconds": seconds, **quality.figures()}


class quiet:  # noqa: N801
    """Keeps what a run prints and warns of to itself."""

    def __enter__(self) -> None:
        self.contexts = [redirect_stdout(StringIO()), redirect_stderr(StringIO())]
        for context in self.contexts:
            context.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, *error: Any) -> None:
        for context in reversed(self.contexts):
            context.__exit__(*error)


def run_scikit(job: Mapping[str, Any]) -> dict[str, Any]:
    """Fits one of scikit-learn's classifiers on the digits of a split and on some labels of it."""
    from quickstart import peers
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.semi_supervised import LabelPropagation
    from sklearn.svm import SVC

    known = {**peers(), "LabelPropagation (kNN, 7)": LabelPropagation(kernel="knn", n_neighbors=7)}
    content = load_digits()
    images, labels = content.data / 16, content.target
    train, test = train_test_split(
        np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=job["seed"]
    )
    shown = np.where(np.isin(train, job["rows"]), labels[train], -1)
    peer = known[job["method"]]
    fitted = shown >= 0 if isinstance(peer, SVC) else slice(None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer.fit(images[train][fitted], shown[fitted])
    return {"top1": float(peer.score(images[test], labels[test]))}


def run_peer(job: Mapping[str, Any]) -> dict[str, Any]:
    """Trains one of semilearn's algorithms; returns the accuracy of its averaged weights."""
    from peers_accuracy import accuracy_of

    return accuracy_of(job)


KINDS = {"ours": run_ours, "scikit": run_scikit, "peer": run_peer}


def run_job(job: Mapping[str, Any]) -> dict[str, Any]:
    """Runs a job of any kind; what fails is noted, not raised."""
    try:
        return {**KINDS[job["kind"]](job), **described(job)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:500], **described(job)}


def described(job: Mapping[str, Any]) -> dict[str, Any]:
    """What tells a job from others."""
    return {
        key: job[key] for key in ("data", "kind", "method", "labels_per_class", "seed", "steps")
    }


def digits_jobs(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The runs of the quickstart, and scikit-learn's on labels chosen as these choose them."""
    steps = arguments.steps or 600
    for labels in arguments.labels:
        for seed in arguments.seeds:
            words = [
                f"run.seed={seed}", f"data.label_seed={seed}", f"data.labels_per_class={labels}",
                f"run.num_iterations={steps}", "data.val=null",
            ]  # fmt: skip
            job = {"data": "digits", "labels_per_class": labels, "seed": seed, "steps": steps}
            job |= {"config": "quickstart", "words": words, "threads": arguments.threads}
            for method in arguments.methods:
                yield {**job, "kind": "ours", "method": method}
            rows = chosen_digits(seed, labels)
            for peer in SCIKIT:
                yield {**job, "kind": "scikit", "method": peer, "rows": rows}


SCIKIT = (
    "SVM (RBF) on the labels alone", "LabelSpreading (kNN, 7)", "LabelSpreading (RBF, gamma 20)",
    "LabelPropagation (kNN, 7)", "SelfTraining (SVM)",
)  # fmt: skip


def chosen_digits(seed: int, labels: int) -> list[int]:
    """The digits that keep their labels, by their positions in scikit-learn's data set."""
    import sesemi_like

    chosen = sesemi_like.dataset(
        name="digits", subset="train", split_seed=seed, labels_per_class=labels, label_seed=seed,
        part="labelled",
    )  # fmt: skip
    return [int(chosen.ids[int(position)]) for position in chosen.positions]


def cifar_jobs(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The runs on CIFAR-10's images, and semilearn's."""
    steps, root = arguments.steps or 1500, set_aside(Path(arguments.root), arguments.per_class)
    for labels in arguments.labels:
        for seed in arguments.seeds:
            job = {"data": "cifar", "labels_per_class": labels, "seed": seed, "steps": steps}
            job |= {"threads": arguments.threads, "root": str(root)}
            job["datasets"] = image_folders(root, labels, seed)
            words = [
                "data=cifar10", f"run.seed={seed}", f"data.label_seed={seed}",
                f"data.labels_per_class={labels}", f"run.num_iterations={steps}", "run.gpus=0",
                "backbone=small_cnn", "learner.hparams.model.backbone.in_chans=3",
                "learner.hparams.model.ema.decay=0.99", "run.validate_every=null",
                "run.precision=32", "data.val=null",
                "data.train.supervised.batch_size_per_gpu=16",
                "data.train.unlabeled.batch_size_per_gpu=112",
            ]  # fmt: skip
            for method in arguments.methods:
                yield {**job, "kind": "ours", "method": method, "config": "cifar10", "words": words}
            for method in PEERS if arguments.peers else ():
                yield {**job, "kind": "peer", "method": method}


def image_folders(root: Path, labels: int, seed: int) -> dict[str, dict[str, Any]]:
    """The data sets that take the place of those of the config `cifar10`, by their keys."""
    images = {"name": "image_folder", "root": str(root)}
    budget = {"labels_per_class": labels, "label_seed": seed}
    return {
        "train.supervised": {**images, "subset": "train", "part": "labelled", **budget},
        "train.unlabeled": {**images, "subset": "train", "part": "all", **budget},
        "test": {**images, "subset": "test"},
    }


def set_aside(root: Path, per_class: int) -> Path:
    """Lays out links to the images: those set aside in `test`, so many of the others in `train`."""
    folder = Path(tempfile.gettempdir()) / f"methods-cifar-{per_class}"
    for source in sorted(path for path in root.iterdir() if path.is_dir()):
        files = sorted(source.iterdir())
        parts = {"train": files[:-HELD_OUT][:per_class], "test": files[-HELD_OUT:]}
        for subset, chosen in parts.items():
            target = folder / subset / source.name
            target.mkdir(parents=True, exist_ok=True)
            for file in chosen:
                if not (target / file.name).exists():
                    (target / file.name).symlink_to(file.resolve())
    return folder


def key_of(result: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a result is of, to find it again."""
    return tuple(described(result).values())


def read(path: Path) -> list[dict[str, Any]]:
    """The results that are there already, without those that failed."""
    if not path.exists():
        return []
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [result for result in found if "error" not in result]


def run_all(jobs: Iterable[dict[str, Any]], path: Path, workers: int) -> None:
    """Runs what has not been run yet, several at a time, and appends each result."""
    done = {key_of(result) for result in read(path)}
    jobs = [job for job in jobs if key_of(job) not in done]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(run_job, job) for job in jobs]):
            result = future.result()
            with path.open("a") as file:
                print(json.dumps(result), file=file)
            print(result.get("error") or round(result["top1"], 3), *key_of(result), file=sys.stderr)


def table(results: list[dict[str, Any]], labels: int) -> str:
    """The table of one number of labels, the best first."""
    names = sorted({(r["kind"], r["method"]) for r in results})
    rows = []
    for kind, method in names:
        of = [r for r in results if (r["kind"], r["method"]) == (kind, method)]
        top1 = [r["top1"] for r in of]
        spread = f"{np.mean(top1):.3f} ± {np.std(top1):.3f}"
        name = {"ours": method, "scikit": f"scikit-learn: {method}", "peer": f"semilearn: {method}"}
        others = [mean_of(of, key) for key in ("used", "right", "balance")]
        milliseconds = [1e3 * r["seconds"] for r in of if "seconds" in r]
        others.append(f"{np.mean(milliseconds):.1f}" if milliseconds else "")
        cells = [name[kind], spread, f"{min(top1):.3f}", str(len(of)), *others]
        rows.append((-np.mean(top1), f"| {' | '.join(cells)} |"))
    title = f"| {labels} labels a class | test top-1 | lowest | seeds | "
    title += "used | right | balance | ms a step |"
    return "\n".join([title, "|" + " --- |" * 8, *(row for _, row in sorted(rows))])


def mean_of(results: list[dict[str, Any]], key: str) -> str:
    """The mean of a figure over the runs that have it."""
    values = [r[key] for r in results if r.get(key) is not None]
    return f"{np.mean(values):.2f}" if values else ""


def step_times(arguments: argparse.Namespace) -> None:
    """Prints what a step of each method costs, as a multiple of FixMatch's."""
    import torch
    from common import print_machine, runs_in_turn

    torch.set_num_threads(arguments.threads)
    steps = arguments.steps or 40
    names = ["fixmatch", *(name for name in arguments.methods if name != "fixmatch")]
    with quiet():
        times = runs_in_turn(
            {name: partial(seconds_of_steps, name, steps) for name in names},
            arguments.repeats,
            steps,
        )
    print_machine(f"digits, {arguments.repeats} runs of {steps} steps each, in turn")
    print("| method | ms a step, median | of FixMatch's |")
    print("| --- | --- | --- |")
    base = times["fixmatch"].median()
    for name in sorted(names, key=lambda name: times[name].median()):
        median = times[name].median()
        print(f"| {name} | {1e3 * median:.1f} | {median / base:.2f} |")


def seconds_of_steps(method: str, steps: int) -> list[float]:
    """Runs a method on the digits; returns the seconds of each step but the first ones."""
    from fixmatch_cases import StepTimes, compose_config, extra_callback

    from sesemi_like.run.execute import run

    folder = tempfile.mkdtemp()
    words = (f"method={method}", f"run.num_iterations={steps}", f"run.dir={folder}")
    times = StepTimes()
    try:
        with extra_callback(times):
            run(compose_config("quickstart", *words, "data.val=null", "data.test=null"))
    finally:
        shutil.rmtree(folder)
    return [float(value) for value in np.diff(times.ends[5:])]


def main() -> None:
    """Runs everything and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=["digits", "cifar", "steps"])
    parser.add_argument("--methods", nargs="+", default=methods())
    parser.add_argument("--labels", type=int, nargs="+", default=[4], help="labels per class")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, help="of a run; digits 600, cifar 1500")
    parser.add_argument("--root", help="cifar: a folder of a folder for each class")
    parser.add_argument("--per-class", type=int, default=4500, help="cifar: training images")
    parser.add_argument("--peers", action="store_true", help="cifar: semilearn's own as well")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="runs at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of a run")
    parser.add_argument("--repeats", type=int, default=3, help="steps: runs of each method")
    parser.add_argument("--out", type=Path, default=Path("methods.jsonl"), help="lines of JSON")
    arguments = parser.parse_args()
    if arguments.data == "steps":
        step_times(arguments)
        return
    jobs = digits_jobs(arguments) if arguments.data == "digits" else cifar_jobs(arguments)
    run_all(jobs, arguments.out, arguments.workers)
    found = [r for r in read(arguments.out) if r["data"] == arguments.data]
    for labels in arguments.labels:
        print("\n" + table([r for r in found if r["labels_per_class"] == labels], labels))


if __name__ == "__main__":
    main()
