"""Images that come twice are named; those that come once are not."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from readers import indexed

from sesemi_like.data.checks.duplicates import repeated_images, shared_images


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("train/cat/a", "train/dog/a", "train/dog/b", "val/cat/a", "val/dog/c"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    return tmp_path


def test_a_subset_that_is_read_twice(root: Path) -> None:
    twice = indexed("image_folder", str(root), ["train", "train"])
    warning = repeated_images(twice)
    assert warning.startswith("3 of its samples occur more than once: ")
    assert "train/cat/a.png" in warning
    assert repeated_images(indexed("image_folder", str(root))) is None
    assert repeated_images(twice.select(np.arange(3))) is None
    digits = indexed("digits", subset=["test", "test"])
    assert "360 of its samples" in repeated_images(digits)
    assert repeated_images(indexed("digits")) is None


def test_files_of_training_and_evaluation(root: Path) -> None:
    train, val = (indexed("image_folder", str(root), name) for name in ("train", "val"))
    assert shared_images(val, train) is None  # a.png of cats is another file than a.png of cats
    (root / "link").symlink_to(root / "train")
    table = root / "table.csv"
    table.write_text("path,label\nlink/dog/b.png,dog\nval/cat/a.png,cat\n")
    listed = indexed("csv", str(table))
    assert shared_images(listed, train) == "1 of its 2 images occur in both: link/dog/b.png"
    assert shared_images(train, listed) == "1 of its 3 images occur in both: train/dog/b.png"
    assert shared_images(listed.select(np.array([1])), train) is None


def test_arrays_have_no_files_to_compare(root: Path) -> None:
    digits, train = indexed("digits"), indexed("image_folder", str(root), "train")
    assert shared_images(digits, digits) is None
    assert shared_images(train, digits) is None
