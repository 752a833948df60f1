"""Every check of a config that needs no torch: pure functions from a config to its problems."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..errors import ConfigProblem, suggest
from .check_compile import compile_problems
from .check_predict import prediction_problems
from .check_trainer import trainer_problems
from .choices import (
    ACCELERATORS,
    CACHE_KINDS,
    ON_ERROR,
    ON_NONFINITE,
    PARTS,
    PRECISIONS,
    REHEARSALS,
    RESUME,
    START_METHODS,
)
from .headline import headline_problems
from .intervals import parse_interval
from .keys import key_help
from .learners import LEARNERS, learner_entry
from .mode import Mode, Modes, mode_problems
from .rules import at_least, exclusive, one_of
from .schema import schema_problems
from .sizes import parse_bytes
from .stages import by_stage, has_stages
from .structs import AppConfig, DatasetConfig
from .targets import target_problems
from .weights import WeightsSource

_DATASET_CHOICES = {
    "part": PARTS,
    "on_error": ON_ERROR,
    "cache": CACHE_KINDS,
}
_BUDGETS = ("labels_per_class", "num_labels", "label_fraction")


def check(config: DictConfig, modes: Modes) -> list[ConfigProblem]:
    """Collects every mistake that can be seen without reading data or building networks.

    Args:
        config: A composed config of the shape of :class:`AppConfig`; one with stages is checked
            as the runs that it stands for.
        modes: What `run.mode` may name.

    Returns:
        The problems, in the order of the config's sections; where there is no such mode, without
        those that depend on it.
    """
    if has_stages(config, modes):
        return by_stage(config, lambda stage: _single_run_problems(stage, modes))
    return _single_run_problems(config, modes)


def _single_run_problems(config: DictConfig, modes: Modes) -> list[ConfigProblem]:
    """The mistakes in the config of a single run."""
    parts: list[Iterator[ConfigProblem]] = [
        typed_problems(config),
        mode_problems(config, modes),
        target_problems(config),
        missing_problems(config),
        run_problems(config),
        data_problems(config),
        prediction_problems(config),
    ]
    if mode := modes.get(config.run.mode):
        parts += [
            needed_data_problems(config, mode),
            learner_problems(config, mode),
            trainer_problems(config, mode),
        ]
    return [problem for part in parts for problem in part]


def typed_problems(config: DictConfig) -> Iterator[ConfigProblem]:
    """Names every key that no struct has, which ``+key=value`` lets in, and every wrong type."""
    content: Any = OmegaConf.to_container(config, resolve=False)
    learner = content.get("learner")
    yield from schema_problems(content, AppConfig)
    if isinstance(learner, dict) and (entry := LEARNERS.get(str(learner.get("_target_")))):
        yield from schema_problems(learner, entry.struct, "learner")


def missing_problems(config: DictConfig) -> Iterator[ConfigProblem]:
    """Names each value that is still ``???`` and what it is for."""
    for key in sorted(OmegaConf.missing_keys(config)):
        yield ConfigProblem(
            key, "???", f"a value is needed: {key_help(key, config) or 'see its docs'}"
        )


def run_problems(config: DictConfig) -> Iterator[ConfigProblem]:
    """Checks the section `run`."""
    run = config.run
    yield from exclusive(run, "run", ("num_epochs", "num_iterations"))
    for name in ("num_epochs", "num_iterations", "num_nodes", "batch_size_per_gpu"):
        yield from at_least(run, "run", name, 1)
    if run.seed is not None and not 0 <= run.seed < 2**32:
        yield ConfigProblem("run.seed", run.seed, "must lie in [0, 2^32)")
    yield from one_of(run, "run", "accelerator", ACCELERATORS)
    yield from one_of(run, "run", "on_nonfinite", ON_NONFINITE)
    yield from one_of(run, "run", "rehearse", REHEARSALS)
    yield from one_of(run, "run", "resume", RESUME)
    yield from exclusive(run, "run", ("resume", "resume_from_checkpoint"))
    yield from compile_problems(run.compile)
    if run.stage is not None and not config.get("stages"):
        yield ConfigProblem("run.stage", run.stage, "the config has no stages")
    if str(run.precision) not in PRECISIONS:
        expected = suggest(str(run.precision), PRECISIONS, noun="choices")
        yield ConfigProblem("run.precision", run.precision, expected)
    yield from headline_problems(run.headline)
    if misnamed := _folder_name_problem(run.id):
        yield ConfigProblem("run.id", run.id, misnamed)
    parsers = {"gpus": parse_gpus, "cache_limit": parse_bytes, "checkpoint_every": _interval}
    for name, parse in parsers.items():
        try:
            parse(run[name])
        except ValueError as error:
            yield ConfigProblem(f"run.{name}", run[name], str(error))
    yield from _weights_problems(run)


def _weights_problems(run: DictConfig) -> Iterator[ConfigProblem]:
    """Checks that the checkpoints which a run names are there."""
    resumed, weights = run.resume_from_checkpoint, run.pretrained_checkpoint_path
    if resumed is not None and not Path(resumed).is_file():
        expected = "no such file; give a checkpoint's path"
        yield ConfigProblem("run.resume_from_checkpoint", resumed, expected)
    if weights is not None:
        try:
            WeightsSource.parse(weights)
        except ValueError as error:
            yield ConfigProblem("run.pretrained_checkpoint_path", weights, str(error))


def _interval(value: Any) -> Any:
    return None if value is None else parse_interval(value)


def _folder_name_problem(name: str) -> str | None:
    if name in ("", ".", "..") or not name.isprintable() or any(c in name for c in "/\\"):
        return "needs a name without slashes, none of '.' and '..': it names a folder"
    if (size := len(name.encode())) > 255:
        return f"names a folder, which may have 255 bytes; these are {size}"
    return None


def parse_gpus(gpus: Any) -> int | list[int]:
    """Reads `run.gpus`.

    Args:
        gpus: A count, a list of indices, a text such as "0,2", or null.

    Returns:
        A count (0: the CPU, -1: all there are) or a list of GPU indices.

    Raises:
        ValueError: If it is none of these.
    """
    expected = "needs a count, a list of GPU indices, a text such as '0,2', null, 0 or -1"
    if gpus is None:
        return 0
    if isinstance(gpus, bool):
        raise ValueError(expected)
    if isinstance(gpus, str):
        gpus = _gpus_in_text(gpus, expected)
    if isinstance(gpus, int):
        if gpus < -1:
            raise ValueError(expected)
        return gpus
    indices: list[Any] = list(gpus) if OmegaConf.is_list(gpus) or isinstance(gpus, list) else [None]
    if not all(isinstance(i, int) and i >= 0 for i in indices) or len(set(indices)) < len(indices):
        raise ValueError(expected)
    return indices or 0


def _gpus_in_text(text: str, expected: str) -> int | list[int]:
    """Reads "2" as a count and "0,2" (or "2,") as indices, as Lightning did."""
    parts = [part.strip() for part in text.split(",")]
    if parts[-1] == "" and len(parts) > 1:
        parts.pop()
    if not all(part.removeprefix("-").isdigit() for part in parts):
        raise ValueError(expected)
    return int(text) if "," not in text else [int(part) for part in parts]


def data_problems(config: DictConfig) -> Iterator[ConfigProblem]:
    """Checks the section `data`, reading no files."""
    data = config.data
    yield from exclusive(data, "data", _BUDGETS)
    yield from at_least(data, "data", "image_size", 1)
    yield from _evaluation_name_problems(data)
    for key, loader in named_loaders(data):
        yield from _loader_problems(loader, key)


def needed_data_problems(config: DictConfig, mode: Mode) -> Iterator[ConfigProblem]:
    """Checks that the data which a mode needs are given."""
    for split in mode.needs:
        loaders, is_one = config.data[split], split not in ("train", "evaluation")
        if not loaders or (is_one and loaders.dataset is None):
            what = "a data loader" if is_one else "data loaders by name"
            yield ConfigProblem(f"data.{split}", None, f"{mode.name} needs {what}")


def named_loaders(data: DictConfig) -> Iterator[tuple[str, DictConfig]]:
    """Yields the loaders that are not switched off: (config key, loader config)."""
    loaders = {f"data.train.{name}": loader for name, loader in (data.train or {}).items()}
    loaders |= {"data.val": data.val, "data.test": data.test}
    evaluation = data.evaluation or {}
    loaders |= {f"data.evaluation.{name}": loader for name, loader in evaluation.items()}
    loaders["data.predict"] = data.predict
    for key, loader in loaders.items():
        if loader is not None and loader.dataset is not None:
            yield key, loader


def _evaluation_name_problems(data: DictConfig) -> Iterator[ConfigProblem]:
    """Evaluators name train loaders and those of evaluation alike: no name may be of two."""
    taken = {name: "a loader of data" for name in ("train", "val", "test", "predict")}
    taken |= {str(name): "a train loader" for name in data.train or {}}
    for name in map(str, data.evaluation or {}):
        if name in taken:
            expected = f"{name!r} is {taken[name]}; choose another name"
            yield ConfigProblem(f"data.evaluation.{name}", name, expected)


def _loader_problems(loader: DictConfig, key: str) -> Iterator[ConfigProblem]:
    yield from exclusive(loader, key, ("batch_size", "batch_size_per_gpu"))
    for name in ("batch_size", "batch_size_per_gpu", "repeat", "prefetch_factor"):
        yield from at_least(loader, key, name, 1)
    yield from at_least(loader, key, "timeout", 0)
    workers = loader.num_workers
    if workers != "auto" and (not isinstance(workers, int) or isinstance(workers, bool)):
        yield ConfigProblem(f"{key}.num_workers", workers, "needs an integer, or auto")
    elif workers != "auto":
        yield from at_least(loader, key, "num_workers", 0)
    yield from one_of(loader, key, "multiprocessing_context", START_METHODS)
    yield from _pinning_problems(loader, key)
    yield from _dataset_problems(loader.dataset, f"{key}.dataset")


def _pinning_problems(loader: DictConfig, key: str) -> Iterator[ConfigProblem]:
    device = loader.pin_memory_device
    if device is not None and loader.pin_memory is False:
        expected = "pin_memory is false; needs null, or no pin_memory"
        yield ConfigProblem(f"{key}.pin_memory_device", device, expected)


def _dataset_problems(dataset: DictConfig, key: str) -> Iterator[ConfigProblem]:
    content: Any = OmegaConf.to_container(dataset, resolve=False)
    wrong = list(schema_problems(content, DatasetConfig, key, is_open=True))
    if "name" not in dataset:
        wrong.append(ConfigProblem(f"{key}.name", None, "a data set needs the name of its kind"))
    yield from wrong
    if wrong:
        return
    yield from exclusive(dataset, key, _BUDGETS)
    yield from exclusive(dataset, key, ("num_rows", "rows"))
    for name in ("labels_per_class", "num_labels", "num_rows", "cache_side"):
        yield from at_least(dataset, key, name, 1)
    fraction = dataset.get("label_fraction")
    if fraction is not None and not 0 < fraction <= 1:
        yield ConfigProblem(f"{key}.label_fraction", fraction, "must lie in (0, 1]")
    for name, choices in _DATASET_CHOICES.items():
        if name in dataset:
            yield from one_of(dataset, key, name, choices)


def learner_problems(config: DictConfig, mode: Mode) -> Iterator[ConfigProblem]:
    """Checks the section `learner`: its class, and the rest where the learner has a struct."""
    if OmegaConf.is_missing(config, "learner"):
        return  # told as every value that is needed
    learner = config.learner
    if not isinstance(learner, DictConfig):
        yield ConfigProblem("learner", learner, "needs a mapping of _target_ and hparams")
        return
    if "_target_" not in learner:
        expected = "needs the path of the learner's class, such as sesemi_like.Classifier"
        yield ConfigProblem("learner._target_", None, expected)
        return
    entry = learner_entry(config)
    if entry is not None and OmegaConf.get_type(config, "learner") is entry.struct:
        yield from entry.problems(config.learner, mode.trains)
