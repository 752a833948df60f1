"""Images that are no images of the right kind are named as what they are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from composing import composed
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from sesemi_like.config.check import check
from sesemi_like.data import register_dataset
from sesemi_like.data.checks.images import AN_IMAGE, describe_unsupported
from sesemi_like.errors import ConfigError
from sesemi_like.run.modes import MODES
from sesemi_like.run.prepare import prepare

COLOR, GRAY = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8))


@pytest.mark.parametrize(
    ("image", "texts"),
    [
        (torch.zeros(3, 8, 8), ""),
        (torch.zeros(1, 8, 8, dtype=torch.uint8), ""),
        (torch.zeros(2, 8, 8), ""),
        (np.zeros((3, 8, 8), np.float32), ""),
        (GRAY, "float64 (8, 8)"),
        (GRAY.astype(np.float32), "(8, 8)"),
        (COLOR, "(8, 8, 3)"),
        (np.zeros((3, 8, 8)), "float64 (3, 8, 8)"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "int64 (3, 8, 8)"),
        (np.array(["a"]), "<U1 (1,)"),
        (Image.new("RGB", (8, 8)), "PIL Image"),
    ],
)
def test_what_an_image_is_instead_is_said(
    image: Image.Image | NDArray[Any] | torch.Tensor, texts: str
) -> None:
    assert describe_unsupported(image) == texts


class Same(Dataset[Any]):
    """The same image again and again."""

    def __init__(self, image: Image.Image | NDArray[Any]) -> None:
        self.image, self.targets, self.classes = image, np.arange(16) % 2, ["a", "b"]

    def __len__(self) -> int:
        return 16

    def __getitem__(self, row: int) -> tuple[Image.Image | NDArray[Any], np.int64]:
        return self.image, self.targets[row]


def problems_of(
    tmp_path: Path, image: Image.Image | NDArray[Any], channels: int = 3
) -> dict[str, str]:
    """The problems of a run on such images, by key."""
    register_dataset("same_images")(lambda root, subset, image_transform: Same(image))
    (tmp_path / "own.yaml").write_text(f"""
defaults: [sesemi_config, override backbone: small_cnn, override optimizer: sgd,
           override method: supervised, _self_]
run: {{num_iterations: 2, gpus: 0, batch_size_per_gpu: 4}}
data:
  train: {{supervised: {{dataset: {{name: same_images}}}}}}
  val: {{dataset: {{name: same_images}}}}
learner: {{hparams: {{num_classes: 2, model: {{backbone: {{in_chans: {channels}}},
    supervised_loss: {{callable: {{_target_: torch.nn.CrossEntropyLoss}}}}}}}}}}
""")
    config = composed("own", folder=tmp_path)
    try:
        prepare(config, check(config, MODES))
    except ConfigError as error:
        return {p.key: f"{p.value}; {p.expected}" for p in error.problems}
    return {}


@pytest.mark.parametrize("image", [GRAY, COLOR, np.zeros((3, 8, 8)), Image.new("RGB", (8, 8))])
def test_a_run_on_unsupported_images_is_refused_with_what_an_image_is(
    tmp_path: Path, image: Image.Image | NDArray[Any]
) -> None:
    problems = problems_of(tmp_path, image, channels=1 if image is GRAY else 3)
    texts = [text for text in problems.values() if AN_IMAGE in text]
    assert all(describe_unsupported(image) in text for text in texts)
    assert len(texts) == 2
    assert AN_IMAGE in next(iter(problems.values()))


def test_images_are_not_accused_of_what_is_wrong_elsewhere(tmp_path: Path) -> None:
    assert problems_of(tmp_path, COLOR.transpose(2, 0, 1)) == {}
    problems = problems_of(tmp_path, COLOR.transpose(2, 0, 1), channels=1)
    assert problems
    assert not any(AN_IMAGE in text for text in problems.values())
