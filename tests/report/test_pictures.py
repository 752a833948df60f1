"""Pictures for TensorBoard: grids of samples and the confusion matrix, pixel by pixel."""

import numpy as np
import pytest
import torch
from composing import composed
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sesemi_like.report.pictures import draw_confusion, picture_grid
from sesemi_like.run import run


def test_a_grid_holds_each_image_in_its_cell_with_a_border():
    images = torch.arange(3, dtype=torch.float32)[:, None, None, None].expand(3, 1, 4, 5)
    grid = picture_grid(images, columns=2, min_side=1)
    assert grid.shape == (2 * 6, 2 * 7, 3)
    assert grid.dtype == np.uint8
    cells = [grid[1:5, 1:6], grid[1:5, 8:13], grid[7:11, 1:6], grid[7:11, 8:13]]
    assert [int(cell.min()) for cell in cells] == [0, 127, 255, 0]
    assert all((cell == cell[0, 0]).all() for cell in cells)


def test_a_grid_keeps_colours_and_survives_equal_images():
    red = torch.zeros(1, 3, 2, 2)
    red[:, 0] = 1
    assert picture_grid(red)[1, 1].tolist() == [255, 0, 0]
    assert picture_grid(red).shape == (2 * 32 + 2, 2 * 32 + 2, 3)
    assert picture_grid(torch.full((2, 1, 2, 2), 0.3)).max() == 0


def test_a_matrix_is_dark_where_many_of_a_row_fall():
    picture = draw_confusion(np.array([[9, 1], [0, 10]]), ["cat", "dog"])
    cell, margin = 44, 110

    def shade(row, column):
        return int(picture[margin + row * cell + 3, margin + column * cell + 3].sum())

    assert shade(1, 1) < shade(0, 0) < shade(0, 1) < shade(1, 0)
    assert (picture[margin + 10 : margin + 34, 60:104] < 128).any()  # the name of the first row


@pytest.mark.parametrize("classes", [1, 25, 26, 1000])
def test_a_matrix_of_any_size_is_a_picture_of_bounded_size(classes):
    picture = draw_confusion(np.eye(classes, dtype=np.int64))
    assert picture.ndim == 3
    assert max(picture.shape) < 4100


def test_tensorboard_has_curves_samples_and_matrices(tmp_path):
    config = composed("quickstart", "run.gpus=0", "run.num_iterations=3", f"run.dir={tmp_path}",
                      "learner.hparams.model.backbone.widths=[4]", "evaluation=knn",
                      "++trainer.log_every_n_steps=1")  # fmt: skip
    run(config)
    (folder,) = tmp_path.glob("*/*/tensorboard")
    images, curves = set(), set()
    for path in folder.glob("events.*"):
        events = EventAccumulator(str(path)).Reload()
        images |= set(events.Tags()["images"])
        curves |= set(events.Tags()["scalars"])
    assert images == {"samples/supervised.image", "samples/unlabeled.strong",
                      "samples/unlabeled.weak", "val/confusion", "test/confusion"}  # fmt: skip
    assert curves >= {
        "train/loss", "train/supervised/loss", "train/supervised/weighted_loss",
        "train/fixmatch/loss", "train/fixmatch/weighted_loss", "train/fixmatch/mask_rate", "lr",
        "val/top1", "val/model/top1", "val/ema/top1", "val/knn_top1", "test/top1",
    }  # fmt: skip
