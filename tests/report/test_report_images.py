"""Images for TensorBoard: grids of samples and the confusion matrix, pixel by pixel."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from composing import composed
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sesemi_like.report.captions import build_captions, class_names
from sesemi_like.report.confusion import draw_confusion
from sesemi_like.report.grids import FONT, LINE, image_grid, shorten
from sesemi_like.run.execute import run
from sesemi_like.run.prepare import prepare


def test_a_grid_holds_each_image_in_its_cell_with_a_border() -> None:
    images = torch.arange(3, dtype=torch.float32)[:, None, None, None].expand(3, 1, 4, 5)
    grid = image_grid(images, columns=2, min_side=1)
    assert grid.shape == (2 * 6, 2 * 7, 3)
    assert grid.dtype == np.uint8
    cells = [grid[1:5, 1:6], grid[1:5, 8:13], grid[7:11, 1:6], grid[7:11, 8:13]]
    assert [int(cell.min()) for cell in cells] == [0, 127, 255, 0]
    assert all((cell == cell[0, 0]).all() for cell in cells)


def test_a_grid_keeps_colors_and_survives_equal_images() -> None:
    red = torch.zeros(1, 3, 2, 2)
    red[:, 0] = 1
    assert image_grid(red)[1, 1].tolist() == [255, 0, 0]
    assert image_grid(red).shape == (2 * 64 + 2, 2 * 64 + 2, 3)
    assert image_grid(torch.full((2, 1, 2, 2), 0.3)).max() == 0


def test_a_matrix_is_dark_where_many_of_a_row_fall() -> None:
    drawn = draw_confusion(np.array([[9, 1], [0, 10]]), ["cat", "dog"])
    cell, margin = 44, 110

    def shade(row: Any, column: Any) -> int:
        return int(drawn[margin + row * cell + 3, margin + column * cell + 3].sum())

    assert shade(1, 1) < shade(0, 0) < shade(0, 1) < shade(1, 0)
    assert (drawn[margin + 10 : margin + 34, 60:104] < 128).any()  # the name of the first row


@pytest.mark.parametrize("classes", [1, 25, 26, 1000])
def test_a_matrix_of_any_size_is_a_image_of_bounded_size(classes: int) -> None:
    drawn = draw_confusion(np.eye(classes, dtype=np.int64))
    assert drawn.ndim == 3
    assert max(drawn.shape) < 4100


def test_small_images_are_enlarged_pixel_by_pixel() -> None:
    image = torch.tensor([[[[0.0, 1.0], [0.5, 0.25]]]])
    grid = image_grid(image, min_side=5)
    assert grid.shape == (2 * 3 + 2, 2 * 3 + 2, 3)  # three times is the first to reach five
    assert (grid[1:4, 4:7] == 255).all()
    assert (grid[4:7, 1:4] == 127).all()
    assert image_grid(torch.zeros(1, 3, 200, 100)).shape == (202, 102, 3)


def test_captions_stand_under_their_image_and_leave_it_alone() -> None:
    images = torch.ones(3, 1, 64, 64)
    images[0] = 0
    captions = [["", ""], ["cat", "> dog 0.97"], ["", ""]]
    grid = image_grid(images, captions, columns=2, min_side=64)
    height = 66 + 2 * LINE
    assert grid.shape == (2 * height, 2 * 66, 3)
    assert (grid[1:65, 67:131] == 255).all()
    text = [grid[65:height, 66:], grid[65:height, :66], grid[height + 65 :]]
    assert [bool((part > 100).any()) for part in text] == [True, False, False]


def test_long_names_are_shortened_to_their_room() -> None:
    assert shorten("cat", 100) == "cat"
    found = shorten("Old English sheepdog", 60)
    assert found.startswith("Old E")
    assert found.endswith("…")
    assert FONT.getlength(found) <= 60


def test_totals_stand_beside_the_matrix() -> None:
    empty, full = (draw_confusion(m) for m in (np.zeros((2, 2), int), np.array([[90, 10], [0, 0]])))
    end = 110 + 2 * 44
    row, column = (slice(110 + 15, 110 + 29), slice(end + 5, end + 55)), slice(110 + 5, 110 + 39)
    assert (full[row] != empty[row]).any(), "100 beside the first row"
    below = slice(end + 6, end + 22), column
    assert (full[below] != empty[below]).any(), "90 below the first column"
    assert full.shape == (end + 60, end + 60, 3)


def test_samples_are_captioned_with_class_pseudo_label_and_confidence() -> None:
    """Against the network itself, and without a trace in it."""
    prepared = prepare(composed("quickstart", *SMALL, "method=rotation"))
    learner, module = prepared.learner, prepared.data
    batch = module.first_step()
    del batch["unlabeled.target"]  # which no head reads
    trainer: Any = FakeTrainer(module)
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    drawn = torch.get_rng_state()
    found = {
        name: build_captions(name, batch[name], batch, trainer, learner)
        for name in ("supervised.image", "unlabeled.weak", "unlabeled.rotation.image")
    }
    assert learner.training
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())
    learner.eval()
    for name in ("supervised.image", "unlabeled.weak"):
        shares = learner.networks["teacher"](batch[name])["logits"].softmax(dim=1)
        said = [f"> {int(row.argmax())} {float(row.max()):.2f}" for row in shares]
        assert [lines[-1] for lines in found[name]] == said
    assert [lines[0] for lines in found["supervised.image"]] == [
        str(int(target)) for target in batch["supervised.target"]
    ]
    assert all(len(lines) == 1 for lines in found["unlabeled.weak"])
    turns = batch["unlabeled.rotation.target"].tolist()
    assert found["unlabeled.rotation.image"] == [[str(turn)] for turn in turns]


def test_classes_have_the_names_that_the_data_give() -> None:
    trainer: Any = FakeTrainer(prepare(composed("quickstart", *SMALL)).data)
    assert class_names(trainer) == [str(number) for number in range(10)]


class FakeTrainer:
    """What captions ask of a Trainer."""

    def __init__(self, module: Any) -> None:
        self.datamodule, self.precision_plugin = module, self

    def forward_context(self) -> Any:
        return torch.enable_grad()


SMALL = ["run.gpus=0", "run.num_iterations=9", "learner.hparams.model.backbone.widths=[4]"]


def test_tensorboard_has_curves_samples_and_matrices(tmp_path: Path) -> None:
    config = composed("quickstart", *SMALL, f"run.dir={tmp_path}", "evaluation=knn",
                      "++trainer.log_every_n_steps=1")  # fmt: skip
    run(config)
    (folder,) = tmp_path.glob("*/*/tensorboard")
    images, curves, samples = set(), set(), []
    for path in folder.glob("events.*"):
        events = EventAccumulator(str(path), size_guidance={"images": 0}).Reload()
        images |= set(events.Tags()["images"])
        curves |= set(events.Tags()["scalars"])
        if "samples/unlabeled.weak" in events.Tags()["images"]:
            samples += events.Images("samples/unlabeled.weak")
    assert [sample.step for sample in samples] == [0, 2, 4, 6, 8]
    shown = Image.open(io.BytesIO(samples[0].encoded_image_string))
    assert shown.size == (8 * 130, 2 * (130 + LINE))
    assert images == {"samples/supervised.image", "samples/unlabeled.strong",
                      "samples/unlabeled.weak", "val/confusion", "test/confusion"}  # fmt: skip
    assert curves >= {
        "train/loss", "train/supervised/loss", "train/supervised/weighted_loss",
        "train/fixmatch/loss", "train/fixmatch/weighted_loss", "train/fixmatch/mask_rate", "lr",
        "val/top1", "val/model/top1", "val/ema/top1", "val/knn_top1", "test/top1",
    }  # fmt: skip


def test_images_of_some_samples_are_captioned_with_the_targets_of_those() -> None:
    """Targets that are no class numbers are left out."""
    images = torch.rand(2, 1, 4, 4)
    loaders = {"train.x": SimpleNamespace(config={})}
    module = SimpleNamespace(labels=None, loaders=loaders, trained=["x"])
    trainer: Any = SimpleNamespace(datamodule=module)
    learner = SimpleNamespace(evaluated=SimpleNamespace(fields={"vector"}))

    def captions(**fields: Any) -> list[list[str]]:
        batch = {f"x.{name.replace('_', '.')}": value for name, value in fields.items()}
        return build_captions("x.image", images, batch, trainer, learner)

    rows = torch.tensor([1, 3])
    numbers = torch.tensor([4, 5, -1, 7])
    assert captions(target=numbers) == [["4"], ["5"]]
    assert captions(target=numbers, image_row=rows) == [["5"], ["7"]]
    for other in (numbers / 2, numbers[:, None], {"a": numbers}):
        assert captions(target=other, image_row=rows) == [[], []]
    assert captions(target=numbers[:2], target_row=rows, image_row=rows) == [[], []]
