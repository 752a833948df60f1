"""The typed configuration: every key that a run understands, with its default.

The structs of learners are in `learners/`, and offered here as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from .learners.base import EMAConfig as EMAConfig
from .learners.base import LearnerConfig as LearnerConfig
from .learners.base import LossHeadConfig as LossHeadConfig
from .learners.base import LRSchedulerConfig as LRSchedulerConfig
from .learners.base import ParamGroupConfig as ParamGroupConfig
from .learners.base import TeacherConfig as TeacherConfig
from .learners.classifier import ClassifierConfig as ClassifierConfig
from .learners.classifier import ClassifierHParams as ClassifierHParams
from .learners.classifier import ClassifierModelConfig as ClassifierModelConfig
from .learners.classifier import SupervisedLossConfig as SupervisedLossConfig


@dataclass
class PredictConfig:
    """What is written of predictions.

    Attributes:
        outputs: Names of what is written: columns that the learner names (of a classifier `class`,
            `confidence`, `probability`), evaluated networks (`ema`), or parts of their outputs
            (`model.features`); null takes all columns that the learner names.
        format: csv | parquet | npy: a table, or a folder with an array for each column.
        rows_per_part: Rows that are kept in memory, and are lost when a run is killed; a part has
            whole batches, at least one.
    """

    outputs: list[str] | None = None
    format: str = "csv"
    rows_per_part: int = 4096


@dataclass
class RunConfig:
    """The run: how long, on what, where to.

    Attributes:
        seed: Seeds every random choice of the run; null draws one and notes it down.
        num_epochs: Passes over the longest train loader; exclusive with `num_iterations`.
        num_iterations: Optimizer steps; exclusive with `num_epochs`.
        gpus: A count, a list, "0,2", null or 0 for the CPU, -1 for all there are (CPU when none).
        num_nodes: Machines that take part.
        accelerator: dp or ddp (the default with several devices).
        precision: auto | 32 | bf16 | 16; auto is bf16 where the hardware computes it natively.
        batch_size_per_gpu: The default batch size of every loader, per process.
        data_root: The parent of relative dataset roots, and the root of datasets without one.
        cache_dir: Where decoded images are kept for later runs; null is the user's cache folder, on
            Linux ~/.cache/sesemi_like.
        cache_limit: Bytes that all decoded images in `cache_dir` may take, as a number or as
            "20 GB"; null is a tenth of what is free there, at most 50 GB.
        id: Names the run; outputs go to dir/id/<time>/.
        dir: The parent folder of all runs.
        mode: What the run does; `open_cli -h` lists the modes.
        resume_from_checkpoint: A checkpoint whose training is continued where it stopped.
        pretrained_checkpoint_path: Weights that are loaded before anything else: a checkpoint, the
            folder of a run (its best), or {path, prefix, into} to take and rename a part.
        from_run: The folder of a run, whose config is taken with what the command line changes, and
            whose checkpoint: the last to go on training, the best to validate or test.
        strict_loading: Whether pretrained weights must fit: true takes no mismatch, false any; null
            reports them, and needs half of the backbone to train, and all that is evaluated to
            validate or test. Resuming takes none.
        evaluators: What is measured at each validation and test, by name; null measures accuracy,
            or the losses of a learner without classes.
        validate_every: Steps, "2 epochs" or a share of the run from one validation to the next;
            null validates every epoch, or about 20 times a run of epochs of fewer than 100 steps.
        on_nonfinite: stop | skip: what to do when a training loss is nan or infinite; skip goes on
            without that step's update.
        stage: The one of `stages` that is run; null runs those that are not finished, in order.
        resume: auto goes on with the newest complete checkpoint of the runs of this id, if there is
            one; null starts anew.
        checkpoint_every: "500 steps" or "10 minutes" from one checkpoint to go on from to the next;
            null writes one at each validation and at the end.
        headline: The figure a run is judged by: a name (`val/loss`), or a mapping of name,
            direction (max | min) and words; null is the learner's own.
        rehearse: full | shapes | none: how a step is tried before training: on two samples of each
            loader, on the meta device without weights, or not at all.
        compile: Whether each network is compiled by torch.compile, or a mapping of its arguments.
        predict: How the predictions of `data.predict` are written.
        tags: Words that the run is found by later; null is its id.
    """

    seed: int | None = None
    num_epochs: int | None = None
    num_iterations: int | None = None
    gpus: Any = -1
    num_nodes: int = 1
    accelerator: str | None = None
    precision: Any = "auto"
    batch_size_per_gpu: int | None = None
    data_root: str | None = "./data"
    cache_dir: str | None = None
    cache_limit: Any = None
    id: str = "default"
    dir: str = "./runs"
    mode: str = "FIT"
    resume_from_checkpoint: str | None = None
    pretrained_checkpoint_path: Any = None
    from_run: str | None = None
    strict_loading: bool | None = None
    evaluators: dict[str, Any] | None = None
    validate_every: Any = None
    on_nonfinite: str = "stop"
    stage: str | None = None
    resume: str | None = None
    checkpoint_every: Any = None
    headline: Any = None
    rehearse: str = "full"
    compile: Any = False
    predict: PredictConfig = field(default_factory=PredictConfig)
    tags: list[str] | None = None


@dataclass
class DatasetConfig:
    """A data set; keys beyond these go to the builder of its kind.

    A loader holds it as a plain mapping, so that kinds may take keys of their own; these keys are
    typed by `check.py`.

    Attributes:
        name: The kind, as registered: image_folder, csv, cifar10, digits, ...
        root: Its folder or file; relative to `run.data_root`, which is also the default.
        subset: The subset or list of subsets to read; null means all.
        image_transform: Applied to each image in the worker; null passes on uint8 tensors.
        labels_per_class: Keeps this many labels of each class.
        num_labels: Keeps this many labels in all, spread over the classes as evenly as possible.
        label_fraction: Keeps this share of each class's labels, in (0, 1].
        label_seed: Seeds the choice of labels; the same on every process and machine.
        part: labelled | unlabelled | all: which side of that choice to read.
        on_error: raise | skip: what to do with an unreadable image.
        cache: auto | ram | disk | none: where image files are kept decoded; auto never changes
            what a sample is.
        cache_side: The shorter side that `ram` and `disk` keep larger images at; null is 8/7 of
            what the transform delivers.
        num_rows: Keeps this many rows, labelled or not, drawn by `row_seed`; null keeps all. Labels
            are chosen among them.
        rows: The rows to keep, in this order: a list of positions, or a file with one a line;
            exclusive with `num_rows`.
        row_seed: Seeds the choice of `num_rows`; a smaller choice is part of a larger one.
    """

    name: str = MISSING
    root: str | None = None
    subset: Any = None
    image_transform: Any = None
    labels_per_class: int | None = None
    num_labels: int | None = None
    label_fraction: float | None = None
    label_seed: int = 0
    part: str = "all"
    on_error: str = "raise"
    cache: str = "auto"
    cache_side: int | None = None
    num_rows: int | None = None
    rows: Any = None
    row_seed: int = 0


@dataclass
class DataLoaderConfig:
    """A data loader: a data set, how it becomes batches, and the views of them.

    Attributes:
        dataset: The data set; null switches the loader off.
        batch_size: Rows a step over all processes; exclusive with `batch_size_per_gpu`.
        batch_size_per_gpu: Rows a step and process; default `run.batch_size_per_gpu`.
        shuffle: Draws a new order for every pass.
        sampler: A sampler config (gets the dataset), or "class_balanced".
        batch_sampler: A batch sampler config; replaces batch_size, shuffle, sampler and drop_last.
        num_workers: Worker processes, at most one for each CPU; 0 loads in the main process, auto
            shares the CPUs out over the train loaders by their batch sizes.
        collate_fn: Builds a batch from a list of samples; null stacks each field;
            sesemi_like.data.FieldCollation makes some fields otherwise: lists, padded, tokens.
        pin_memory: Copies batches into page-locked memory for faster transfer to a GPU; null does
            so where there is a GPU.
        drop_last: Leaves out the last batch of a pass when it is not full.
        timeout: Seconds to wait for a worker's batch; 0 waits for ever.
        worker_init_fn: Called with the worker's number when it starts.
        repeat: Passes over the data that make one pass of this loader.
        prefetch_factor: Batches each worker prepares ahead.
        persistent_workers: Keeps workers alive between passes; null does so when there are any.
        views: Views of a batch by name, made on the device: `<loader>.<view>`.
        multiprocessing_context: fork | spawn | forkserver: how workers are started; null is the
            system's default.
        generator: The config of a torch.Generator that draws the seeds of the workers; null is one
            of the run's seed. What samples and collations draw is seeded for each sample and batch.
        pin_memory_device: The GPU that memory is page-locked for: it is always the one that the
            process computes on, and naming another (cuda:1) is an error where there is a GPU.
    """

    dataset: dict[str, Any] | None = None
    batch_size: int | None = None
    batch_size_per_gpu: int | None = None
    shuffle: bool = False
    sampler: Any = None
    batch_sampler: Any = None
    num_workers: Any = "auto"
    collate_fn: Any = None
    pin_memory: bool | None = None
    drop_last: bool = False
    timeout: float = 0
    worker_init_fn: Any = None
    repeat: int = 1
    prefetch_factor: int | None = None
    persistent_workers: bool | None = None
    views: dict[str, Any] | None = None
    multiprocessing_context: str | None = None
    generator: Any = None
    pin_memory_device: str | None = None


@dataclass
class DataConfig:
    """The data loaders, and the label budget that built-in data configs share.

    Attributes:
        train: Data loaders by name; a step gets one batch of each.
        val: The loader of validation.
        test: The loader of testing.
        labels_per_class: Labels kept of each class; exclusive with the next two.
        num_labels: Labels kept in all.
        label_fraction: Share of labels kept, in (0, 1].
        label_seed: Seeds the choice of labels.
        image_size: Side in pixels of the images, where a built-in data config resizes them.
        mean: Subtracted from pixels in [0, 1], one number or one per channel, where a built-in data
            config normalizes images.
        std: What they are divided by afterwards.
        evaluation: Further loaders by name that evaluators read: a gallery, prompts, other data.
        predict: The loader of what is predicted, in its order.
    """

    train: dict[str, DataLoaderConfig | None] | None = None
    val: DataLoaderConfig | None = None
    test: DataLoaderConfig | None = None
    labels_per_class: int | None = None
    num_labels: int | None = None
    label_fraction: float | None = None
    label_seed: int = 0
    image_size: int | None = None
    mean: Any = None
    std: Any = None
    evaluation: dict[str, DataLoaderConfig | None] | None = None
    predict: DataLoaderConfig | None = None


@dataclass
class AppConfig:
    """A whole run.

    Attributes:
        run: How long, on what, where to.
        data: The named data loaders.
        learner: What learns.
        trainer: Anything a Lightning Trainer takes.
        stages: Configs by name, each laid over the rest and run in turn, the weights handed on.
    """

    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    learner: Any = MISSING
    trainer: Any = None
    stages: dict[str, Any] | None = None
