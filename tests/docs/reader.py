"""A reader of the docs: writes the files that a page shows and runs its commands, in order."""

import json
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest
from composing import composed
from omegaconf import DictConfig, OmegaConf

from sesemi_like.cli import command as cli
from sesemi_like.config.check import named_loaders
from sesemi_like.config.from_run import register_earlier_run
from sesemi_like.data import convert
from sesemi_like.run.modes import MODES

FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)
FILE = re.compile(r"# (configs/\w+\.yaml|(?:configs/)?\w+\.py)\n")
# Commands other than open_cli: installs, other programs, and benchmarks, which take minutes.
NOT_RUN = (
    "python -m pip",
    "python -m pytest",
    "python benchmarks/",
    "mkdocs",
    "mkdir",
    "curl",
    "sed",
    "tensorboard",
    "eval",
)
DOWNLOADED = ("cifar10", "cifar100", "imagewang", "imagewoof", "stl10", "svhn", "pretrained=true")
WARM_UP = "learner.hparams.lr_scheduler.scheduler.warmup_epochs"
LARGEST = 64  # pixels
SIZES = {"train_transforms": ("crop_dim",), "center_crop_transforms": ("resize", "crop_dim")}


def statements(body: str) -> Iterator[str]:
    """The commands of a block of bash, without comments, each on one line."""
    for line in body.replace("\\\n", " ").splitlines():
        yield from re.split(r" && ", line.partition("  #")[0].strip())


@dataclass
class Reader:
    """Follows pages in a folder.

    Attributes:
        folder: Where the reader's images are, and the working directory.
        monkeypatch: Sets the arguments of the command.
        ran: Commands that were run, that were only composed (downloads), and that were skipped.
        trained: The folder of the latest training run that is not a baseline.
    """

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    ran: dict[str, list[str]] = field(
        default_factory=lambda: {"run": [], "composed": [], "left": []}
    )
    trained: Path = Path()

    def follow(self, page: Path) -> None:
        """Writes the files of a page and runs its commands, from the first line to the last."""
        configs: list[str] = []
        for language, body in FENCE.findall(page.read_text()):
            shown = FILE.match(body)
            if shown:
                path = self.folder / shown.group(1)
                path.parent.mkdir(exist_ok=True)
                path.write_text(body)
                configs += [path.stem] * (language == "yaml")
            elif language == "bash":
                for statement in filter(None, statements(body)):
                    self.do(statement)
        ran = " ".join(self.ran["run"])
        for name in configs:
            if f"-cn {name}" not in ran:
                self.do(f"open_cli -cd configs -cn {name}")

    def do(self, statement: str) -> None:
        """Runs a command; fails if it does."""
        statement = re.sub(r"^(\w+=\S* )+", "", statement)  # PYTHONPATH=. and the like
        words = shlex.split(statement)
        needs_peft = ".adapter=" in statement and find_spec("peft") is None
        if statement.startswith(NOT_RUN) or needs_peft:
            self.ran["left"].append(statement)
        elif words[:3] == ["python", "-m", "sesemi_like.data.convert"]:
            convert.main(words[3:])
            self.ran["run"].append(statement)
        elif words[0] == "python" and (self.folder / words[1]).is_file():
            runpy.run_path(words[1], run_name="__main__")
            self.ran["run"].append(statement)
        elif any(name in word for word in words for name in DOWNLOADED):
            self.ran["composed"].append(statement)  # test_docs.py composes every command
        else:
            assert words[0] == "open_cli", f"unknown command: {statement}"
            words = [self.resolved(word) for word in words[1:]]
            loaders = dict(named_loaders(self.config_of(words).data)).values()
            if any(loader.dataset.get("download") for loader in loaders):
                self.ran["composed"].append(statement)
            else:
                self.open_cli(words)
                self.ran["run"].append(statement)

    def resolved(self, word: str) -> str:
        """Replaces an example's run folder and checkpoint by those of the latest training run."""
        example = re.search(r"runs/\w+/<time>", word)
        if example:
            word = word.replace(example.group(), str(self.trained.relative_to(self.folder)))
        example = re.search(r"[\w/.-]+/checkpoints/epoch=[\w=-]+\.ckpt|<path>", word)
        if example:
            summary = json.loads((self.trained / "summary.json").read_text())
            word = word.replace(example.group(), summary["best"]["path"])
        return word

    def open_cli(self, words: list[str]) -> None:
        """Runs the command in this process for a few steps; checks that it writes a summary."""
        before = set(self.folder.glob("runs/*/*/summary.json"))
        self.monkeypatch.setattr(sys, "argv", ["open_cli", *words, *self.shortening(words)])
        try:
            cli.main()
        except SystemExit as ended:
            assert not ended.code, f"open_cli {shlex.join(words)} ended with {ended.code}"
        if {"-h", "--info", "--cfg"} & set(words):
            return
        left = set(self.folder.glob("runs/*/*/summary.json")) - before
        assert left, f"open_cli {shlex.join(words)} left no summary"
        if not any(word.startswith(("method=", "run.mode=")) for word in words):
            self.trained = max(left).parent

    def config_of(self, words: list[str]) -> DictConfig:
        """The config of a command; of a sweep, that of the first run."""
        options = {"-cn": "sesemi_config", "-cd": "", "--cfg": ""}
        overrides, rest = [], iter(words)
        for word in rest:
            if word in options:
                options[word] = next(rest)
            elif not word.startswith("-"):
                overrides.append(re.sub(r"=([^\[{,'\"]+),.*", r"=\1", word))
        folder = self.folder / options["-cd"] if options["-cd"] else None
        name = register_earlier_run(options["-cn"], overrides, MODES)
        return composed(name, *overrides, folder=folder)

    def shortening(self, words: list[str]) -> list[str]:
        """Overrides for a few steps on the CPU, of the same keys that set the length.

        A command that sets both lengths keeps both, so that the run reports it.
        """
        if {"-h", "--info", "--cfg"} & set(words):
            return []
        config = self.config_of(words)
        times = 2 if config.run.resume_from_checkpoint else 1
        lengths = {"num_epochs": times, "num_iterations": 4 * times}
        short = [
            f"run.{key}={length}" for key, length in lengths.items() if config.run[key] is not None
        ]
        short += ["++trainer.limit_train_batches=1"] * (config.run.num_epochs is not None)
        for key, loader in named_loaders(config.data):
            short.append(f"{key}.num_workers=0")
            transform = str(OmegaConf.select(loader, "dataset.image_transform._target_"))
            parts = SIZES.get(transform.rpartition(".")[2], ())
            short += [f"++{key}.dataset.image_transform.{part}={LARGEST}" for part in parts]
        if OmegaConf.select(config, WARM_UP):
            short.append(f"{WARM_UP}=0")
        if (config.data.image_size or 0) > LARGEST:
            short.append(f"data.image_size={LARGEST}")
        return ["run.gpus=0", *short]
