"""FixMatch with WRN-28-2 three ways: this package's run, semilearn's, and a bare PyTorch loop."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from common import wait
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from peers import fixmatch, without_cuda
from PIL import Image
from torch import Tensor, nn

from sesemi_like.config.resolvers import register_resolvers
from sesemi_like.config.store import builtin_configs, register_configs
from sesemi_like.models.backbones import wrn_28_2
from sesemi_like.models.ema import EMATeacher
from sesemi_like.models.networks import ClassificationNetwork
from sesemi_like.run.execute import run
from sesemi_like.views import strong, weak

MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616]
CLASSES, WARM_UP = 10, 3


@dataclass(frozen=True)
class Job:
    """What every case trains on.

    Attributes:
        root: A folder <root>/<class>/<image> of 32x32 images.
        images: The same, uint8 (N, 32, 32, 3).
        targets: int64 (N,).
        batch: Labeled images a step; unlabeled ones are seven times as many.
        steps: Steps of a run, the first three of which are not counted.
    """

    root: Path
    images: np.ndarray
    targets: np.ndarray
    batch: int
    steps: int

    @property
    def unlabeled(self) -> int:
        """Unlabeled images a step."""
        return 7 * self.batch


def read_job(root: Path, batch: int, steps: int, per_class: int = 500) -> Job:
    """Reads the first images of each class."""
    files = [
        (number, file)
        for number, folder in enumerate(sorted(p for p in root.iterdir() if p.is_dir()))
        for file in sorted(folder.iterdir())[:per_class]
    ]
    images = np.stack([np.asarray(Image.open(file).convert("RGB")) for _, file in files])
    return Job(root, images, np.array([number for number, _ in files]), batch, steps)


def compose_config(name: str, *overrides: str) -> Any:
    """Composes a built-in config."""
    register_configs()
    register_resolvers()
    GlobalHydra.instance().clear()
    search = f"hydra.searchpath=[file://{builtin_configs()}]"
    with initialize_config_dir(str(builtin_configs()), version_base="1.3"):
        return compose(name, overrides=[search, *overrides])


class StepTimes(pl.Callback):
    """Records when each step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """Records the time."""
        wait()
        self.ends.append(time.perf_counter())


def ours(job: Job, **settings: Any) -> list[float]:
    """Runs the config `cifar10` on the images; returns the seconds of each step."""
    config = compose_config("cifar10", f"run.num_iterations={job.steps}", "run.seed=0")
    folder = tempfile.mkdtemp()
    config.run.dir = folder
    for name, part in (("supervised", "labelled"), ("unlabeled", "all")):
        root = str(job.root.absolute())
        dataset = {"name": "image_folder", "root": root, "part": part, "labels_per_class": 4}
        config.data.train[name].dataset = dataset
    config.data.train.supervised.batch_size_per_gpu = job.batch
    config.data.train.unlabeled.batch_size_per_gpu = job.unlabeled
    config.data.val = config.data.test = None
    OmegaConf.set_struct(config, False)
    for key, value in settings.items():
        OmegaConf.update(config, key.replace("__", "."), value)
    times = StepTimes()
    with extra_callback(times), redirect_stdout(StringIO()):
        run(config)
    shutil.rmtree(folder)
    return list(np.diff(times.ends[WARM_UP - 1 :]))


class extra_callback:  # noqa: N801
    """Adds a callback to every Trainer that is built."""

    def __init__(self, callback: pl.Callback) -> None:
        self.callback, self.original = callback, pl.Trainer.__init__

    def __enter__(self) -> None:
        original, callback = self.original, self.callback

        def with_callback(trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
            kwargs["callbacks"] = [*(kwargs.get("callbacks") or []), callback]
            original(trainer, *args, **kwargs)

        pl.Trainer.__init__ = with_callback  # type: ignore[method-assign]

    def __exit__(self, *_: Any) -> None:
        pl.Trainer.__init__ = self.original  # type: ignore[method-assign]


def semilearn(job: Job, **settings: Any) -> list[float]:
    """Runs semilearn's FixMatch at its defaults; returns the seconds of each step."""
    with redirect_stdout(StringIO()), without_cuda():
        algorithm = fixmatch(
            job.images, job.targets, job.steps, batch_size=job.batch, uratio=7, **settings
        )
        algorithm.evaluate = lambda *_, **__: {"eval/top-1-acc": 0.0}
        ends, call = [], algorithm.call_hook

        def timed(name: str, *args: Any, **kwargs: Any) -> Any:
            result = call(name, *args, **kwargs)
            if name == "after_train_step":
                wait()
                ends.append(time.perf_counter())
            return result

        algorithm.call_hook = timed
        algorithm.train()
    return list(np.diff(ends[WARM_UP - 1 :]))


def bare(job: Job, precision: torch.dtype, *, joined: bool = False) -> list[float]:
    """Trains in plain PyTorch: the same views, network, losses, SGD and EMA, and nothing else."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = ClassificationNetwork(wrn_28_2(), nn.Linear(128, CLASSES))
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.03, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True
    )
    teacher = EMATeacher(network)
    ends = []
    for number, (labeled, targets, weak_view, strong_view) in enumerate(batches(job, device)):
        autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16)
        with autocast:
            if joined:
                logits = network(torch.cat([labeled, strong_view]))["logits"]
                of_labeled, of_strong = logits.split([len(labeled), len(strong_view)])
            else:
                of_labeled = network(labeled)["logits"]
                of_strong = network(strong_view)["logits"]
            with torch.no_grad():
                confidence, pseudo = network(weak_view)["logits"].softmax(1).max(1)
            losses = F.cross_entropy(of_strong, pseudo, reduction="none") * (confidence >= 0.95)
            loss = F.cross_entropy(of_labeled, targets) + losses.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        teacher.update(network, number)
        wait()
        ends.append(time.perf_counter())
    return list(np.diff(ends[WARM_UP - 1 :]))


def batches(job: Job, device: torch.device) -> Iterator[tuple[Tensor, ...]]:
    """Makes the views of random rows, as the run does."""
    images = torch.from_numpy(job.images.transpose(0, 3, 1, 2).copy())
    targets = torch.from_numpy(job.targets)
    make_weak, make_strong = (view(padding=4, mean=MEAN, std=STD) for view in (weak, strong))
    for _ in range(job.steps):
        rows = torch.randint(len(images), (job.batch,))
        others = torch.randint(len(images), (job.unlabeled,))
        labeled, unlabeled = images[rows].to(device), images[others].to(device)
        views = (make_weak(labeled), make_weak(unlabeled), make_strong(unlabeled))
        first, *rest = (v.contiguous(memory_format=torch.channels_last) for v in views)  # type: ignore[union-attr]
        yield first, targets[rows].to(device), *rest


CASES: dict[str, Callable[[Job], list[float]]] = {
    "semilearn 0.3.2, its defaults": semilearn,
    "sesemi_like, its defaults": ours,
    "sesemi_like, forward: separate": lambda job: ours(
        job, learner__hparams__model__forward="separate"
    ),
    "sesemi_like, forward: joined": lambda job: ours(
        job, learner__hparams__model__forward="joined"
    ),
    "bare loop, bf16": lambda job: bare(job, torch.bfloat16),
    "sesemi_like, run.precision=32": lambda job: ours(job, run__precision="32"),
    "bare loop, 32": lambda job: bare(job, torch.float32),
}
