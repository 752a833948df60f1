"""Trains one of semilearn's algorithms on given images and labels; tests its averaged weights."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from peers import algorithm, import_semilearn, without_cuda
from PIL import Image
from torch import Tensor, nn

import sesemi_like
from sesemi_like.models.backbones import SmallConvNet

CLASSES = 10
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What semilearn normalizes CIFAR-10 by."""


class PeersConvNet(nn.Module):
    """The small network of this package, as semilearn's algorithms call theirs."""

    def __init__(self, num_classes: int = CLASSES, **_: Any) -> None:
        super().__init__()
        self.backbone = SmallConvNet(in_chans=3)
        self.num_features = self.backbone.out_features
        self.fc = nn.Linear(self.num_features, num_classes)

    def forward(self, x: Tensor, only_fc: bool = False, only_feat: bool = False, **_: Any) -> Any:
        """Returns logits and features, or one of the two."""
        if only_fc:
            return self.fc(x)
        features = self.backbone(x)
        return features if only_feat else {"logits": self.fc(features), "feat": features}

    def no_weight_decay(self) -> set[str]:
        """Names no parameter; semilearn decays none of one dimension by itself."""
        return set()


def read_images(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads the images of a folder of a folder for each class, in the order of their names."""
    files = sorted(path for path in folder.glob("*/*"))
    classes = sorted({file.parent.name for file in files})
    images = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    return images, np.array([classes.index(file.parent.name) for file in files])


def accuracy_of(job: Mapping[str, Any]) -> dict[str, float]:
    """Trains as a job says.

    Args:
        job: `root` with `train` and `test`, `method`, `labels_per_class`, `seed`, `steps`,
            `threads`.

    Returns:
        `top1` on the images of `test`, and `seconds` a step.
    """
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"]), np.random.seed(job["seed"])
    root = Path(job["root"])
    images, targets = read_images(root / "train")
    chosen = sesemi_like.dataset(
        name="image_folder", root=str(root), subset="train", part="labelled",
        labels_per_class=job["labels_per_class"], label_seed=job["seed"],
    )  # fmt: skip
    rows = np.asarray(chosen.positions)
    assert (targets[rows] == chosen.targets).all(), "both list the images in one order"
    import_semilearn()
    parts = images[rows], targets[rows], images, targets
    with (
        patch("semilearn.datasets.cv_datasets.cifar.split_ssl_data", lambda *_, **__: parts),
        redirect_stdout(StringIO()),
        without_cuda(),
    ):
        built = algorithm(
            job["method"], images, targets, job["steps"], builder=PeersConvNet, batch_size=16,
            uratio=7, num_labels=len(rows), ema_m=0.99, hard_label=True, num_workers=0,
            ulb_loss_ratio=1.0, seed=job["seed"],
        )  # fmt: skip
        built.evaluate = lambda *_, **__: {"eval/top-1-acc": 0.0}
        begin = time.perf_counter()
        built.train()
        seconds = (time.perf_counter() - begin) / job["steps"]
        built.ema.apply_shadow()
    return {"top1": tested(built.model, *read_images(root / "test")), "seconds": seconds}


@torch.no_grad()
def tested(model: nn.Module, images: np.ndarray, targets: np.ndarray) -> float:
    """The accuracy of a model, normalized as it was trained."""
    model.eval()
    values = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    values = (values - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    predicted = torch.cat([model(part)["logits"].argmax(dim=1) for part in values.split(500)])
    return float((predicted.numpy() == targets).mean())
