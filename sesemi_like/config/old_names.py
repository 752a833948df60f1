"""Names that a `_target_` had in earlier versions and in SESEMI, and what they are now."""

from __future__ import annotations

from collections.abc import Iterator

_PACKAGE = "sesemi_like"

EARLIER = {
    "cli": "cli.command",
    "collation.StackedSamples": "data.batches.StackedSamples",
    "command_line": "cli.arguments",
    "config.choices": "config.command_line",
    "config.places": "config.paths",
    "config.search": "config.search_path",
    "data.arrays": "data.sources.in_memory",
    "data.cache": "data.cache.file",
    "data.cached": "data.cache.plan",
    "data.cached.CachedReader": "data.cache.reader.CachedReader",
    "data.collating": "data.loading.collating",
    "data.decoding": "data.sources.decoding",
    "data.duplicates": "data.checks.duplicates",
    "data.facts": "data.checks.facts",
    "data.files": "data.sources.image_files",
    "data.files.PictureFiles": "data.sources.image_files.ImageFiles",
    "data.first_look": "data.checks.first_batch",
    "data.folders": "data.sources.image_listing",
    "data.images": "data.checks.images",
    "data.labels": "data.checks.labels",
    "data.loaders": "data.loading.loaders",
    "data.loaders.NamedLoaders": "data.loading.named_loaders.NamedLoaders",
    "data.memory": "data.cache.memory",
    "data.names": "data.packed_names",
    "data.orientation": "data.sources.orientation",
    "data.samplers": "data.loading.samplers",
    "data.samples.ImageReader": "data.sources.image_reader.ImageReader",
    "data.samples.StreamedSamples": "data.streams.StreamedSamples",
    "data.samples.to_pil": "data.sources.image_reader.to_pil",
    "data.samples.to_uint8": "data.sources.image_reader.to_uint8",
    "data.seeded": "data.loading.reproducible",
    "data.seeds": "data.loading.seeds",
    "data.shards": "data.sources.shards",
    "data.subsets": "data.sources.name_matching",
    "data.tables": "data.sources.csv_tables",
    "data.unreadable": "data.checks.unreadable",
    "data.workers": "data.loading.workers",
    "ending": "run.status",
    "failures": "cli.failures",
    "help": "cli.help",
    "launch": "run.seed",
    "learners.checkpoints": "learners.checkpoints.reading",
    "learners.choice": "learners.joining",
    "learners.exactness": "learners.joining",
    "learners.reach": "learners.autograd_graph",
    "learners.reading": "learners.required_fields",
    "learners.rehearsal": "learners.dry_run",
    "learners.resuming": "learners.checkpoints.resume_checks",
    "learners.rng": "learners.checkpoints.rng",
    "learners.saving": "learners.checkpoints.saving",
    "learners.starting": "learners.checkpoints.starting",
    "learners.tensor_names": "learners.checkpoints.tensor_names",
    "learners.trial": "learners.side_effects",
    "models.backbones.weights": "models.backbones.local_files",
    "models.torch_files": "models.weights",
    "models.backbones.initial": "models.backbones.pretrained",
    "monitors": "run.monitors",
    "prepared": "run.prepared",
    "report.pictures": "report.images",
    "report.pictures.TensorBoardPictures": "report.images.TensorBoardImages",
    "report.TensorBoardPictures": "report.TensorBoardImages",
    "report.quiet": "report.library_messages",
    "run": "run.prepare",
    "stopping": "trainer.signal_handlers",
    "summary": "run.summary",
    "sweep": "cli.sweep",
    "trainer": "trainer.build",
    "transforms.crops.MultiCrop": "transforms.crops.ApplyEach",
    "validating": "trainer.validation",
    "views.inputs": "views.image_inputs",
}
"""Modules and objects below `sesemi_like` by the names that configs and checkpoints may hold."""

_HEADS, _BACKBONES = "sesemi_like.models.heads.loss", "sesemi_like.models.backbones"
_TRANSFORMS, _SCHEDULES = "sesemi_like.transforms", "sesemi_like.schedulers"

OF_SESEMI = {
    "sesemi.T": "torchvision.transforms.v2",
    "sesemi.A": "albumentations",
    "sesemi.PyTorchImageModel": "sesemi_like.PyTorchImageModels",
    "sesemi.TorchVisionBackbone": f"{_BACKBONES}.TorchvisionModels",
    "sesemi.models.backbones.resnet.WRN": f"{_BACKBONES}.WideResNet",
    "sesemi.models.backbones.resnet.CIFARResNet": f"{_BACKBONES}.CIFARResNet",
    "sesemi.models.loss_heads": _HEADS,
    "sesemi.models.loss_heads.EMAConsistencyLossHead": f"{_HEADS}.MeanTeacherLossHead",
    "sesemi.models.heads.loss.EMAConsistencyLossHead": f"{_HEADS}.MeanTeacherLossHead",
    "sesemi.collation.RotationCollator": "sesemi_like.collation.RotationTransformer",
    "sesemi.collation.JigsawCollator": "sesemi_like.collation.JigsawTransformer",
    "sesemi.schedulers.weight.SigmoidRampupScheduler": f"{_SCHEDULES}.SigmoidSchedule",
    "sesemi.transforms.TrainTransform": f"{_TRANSFORMS}.train_transforms",
    "sesemi.transforms.CenterCropTransform": f"{_TRANSFORMS}.center_crop_transforms",
    "sesemi.transforms.TwoViewsTransform": f"{_TRANSFORMS}.two_view_transforms",
    "sesemi.transforms.MultiViewTransform": f"{_TRANSFORMS}.multi_view_transforms",
}
"""SESEMI's names that are others here; all others only begin with `sesemi_like`."""


def names_since(target: str) -> Iterator[str]:
    """Follows a target through its renamings.

    Args:
        target: A dotted path.

    Yields:
        The path itself, then what it became, oldest first; a name may have been given anew since,
        so that the first that exists is meant.
    """
    unused = dict(EARLIER)
    name: str | None = target
    while name is not None:
        yield name
        name = _renamed_once(name, unused)


def _renamed_once(name: str, unused: dict[str, str]) -> str | None:
    """The next name, by the longest entry that fits, which is taken out of the table."""
    package, *parts = name.split(".")
    if package != _PACKAGE:
        return None
    for length in range(len(parts), 0, -1):
        newer = unused.pop(".".join(parts[:length]), None)
        if newer is not None:
            return ".".join([_PACKAGE, newer, *parts[length:]])
    return None


def name_here(target: str) -> str:
    """What a target of SESEMI is called here, in a sentence.

    Args:
        target: A dotted path that begins with `sesemi`.
    """
    parts = target.split(".")
    for length in range(len(parts), 1, -1):
        name = OF_SESEMI.get(".".join(parts[:length]))
        if name is not None:
            here = ".".join([name, *parts[length:]])
            break
    else:
        here = ".".join([_PACKAGE, *parts[1:]])
    return f"SESEMI's name; here it is {here} (docs/coming_from_sesemi.md)"
