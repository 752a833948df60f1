"""What a config's `_target_`s name, as far as it can be reported before anything is imported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..errors import ConfigProblem

_HEADS, _BACKBONES = "sesemi_like.models.heads.loss", "sesemi_like.models.backbones"
_TRANSFORMS, _SCHEDULES = "sesemi_like.transforms", "sesemi_like.schedulers"

RENAMED = {
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


def target_problems(config: DictConfig) -> Iterator[ConfigProblem]:
    """Names each target that is no path, and each that SESEMI had under a name of its own.

    Args:
        config: A composed config.
    """
    is_installed = find_spec("sesemi") is not None
    for key, target in _targets(OmegaConf.to_container(config, resolve=False), ""):
        if not isinstance(target, str):
            expected = "needs the full path of a class or function"
            yield ConfigProblem(key, target, expected)
        elif target.startswith("sesemi.") and not is_installed:
            yield ConfigProblem(key, target, renamed(target))


def renamed(target: str) -> str:
    """Says what a target of SESEMI is called here."""
    parts = target.split(".")
    for length in range(len(parts), 1, -1):
        name = RENAMED.get(".".join(parts[:length]))
        if name is not None:
            here = ".".join([name, *parts[length:]])
            break
    else:
        here = ".".join(["sesemi_like", *parts[1:]])
    return f"SESEMI's name; here it is {here} (docs/coming_from_sesemi.md)"


def _targets(content: Any, key: str) -> Iterator[tuple[str, Any]]:
    entries: Iterable[tuple[Any, Any]]
    if isinstance(content, Mapping):
        entries = content.items()
    elif isinstance(content, Sequence) and not isinstance(content, str):
        entries = enumerate(content)
    else:
        return
    for name, value in entries:
        path = f"{key}.{name}" if key else str(name)
        if name == "_target_":
            yield path, value
        else:
            yield from _targets(value, path)
