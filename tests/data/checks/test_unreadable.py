"""Broken images: all named before the first step, or counted where they are skipped."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from composing import composed
from PIL import Image
from readers import indexed

from sesemi_like.data import DataModule
from sesemi_like.data.cache.plan import cache_samples
from sesemi_like.data.checks.unreadable import check_readable, first_readable_samples
from sesemi_like.data.counts import gather_skipped, unreadable_counts
from sesemi_like.data.samples import Samples
from sesemi_like.data.sources.image_files import ImageFiles
from sesemi_like.errors import ConfigError, UnreadableSampleError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """40 images of two classes for training, 8 for validation."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 40), ("val", 8)):
        for number in range(count):
            path = tmp_path / "images" / split / "ab"[number % 2] / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(path)
    return tmp_path / "images"


def spoil(root: Path, *rows: int, split: str = "train") -> list[str]:
    """Breaks the images at some rows in a different way each, and returns their names."""
    files = sorted((root / split).rglob("*.png"))
    for number, row in enumerate(rows):
        content = files[row].read_bytes()
        files[row].write_bytes([b"", b"<html>", content[:300], content[:60]][number % 4])
    return [str(files[row].relative_to(root)) for row in rows]


def module(root: Path, *overrides: str) -> DataModule:
    settings = (f"run.data_root={root}", "data.image_size=16", f"run.cache_dir={root.parent / 'c'}",
             "data.train.unlabeled.batch_size_per_gpu=8")  # fmt: skip
    config = composed("imagewang", "data=image_folder", *settings, *overrides)
    return DataModule(config.data, config.run, world_size=1, seed=0)


def problems_of(call: Callable[..., Any]) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        call()
    return {p.key: p.expected for p in caught.value.problems}


def test_all_loaders_name_all_broken_images_at_once(root: Path) -> None:
    names = spoil(root, 0, 1, 2, 21, 39)
    others = spoil(root, 3, split="val")
    data = module(root, "run.mode=FIT")
    problems = problems_of(data.decode)
    assert set(problems) == {f"data.{name}.dataset.on_error" for name in
                          ("train.supervised", "train.unlabeled", "val")}  # fmt: skip
    for key, images in (("train.supervised", names), ("val", others)):
        text = problems[f"data.{key}.dataset.on_error"]
        assert all(name in text for name in images)
        assert "on_error: skip" in text
    text = problems["data.train.supervised.dataset.on_error"]
    assert text.startswith("5 of 40 images cannot be read: train/a/00.png (the file is empty), ")
    assert "train/a/02.png (no image of a known format" in text


@pytest.mark.parametrize("kind", ["auto", "none"])
def test_the_first_images_are_reported_together_with_the_others(root: Path, kind: str) -> None:
    names = spoil(root, 2, 0, 1, 9)  # the last of them are half files
    keys = [f"data.train.{name}.dataset.cache" for name in ("supervised", "unlabeled")]
    problems = problems_of(module(root, *(f"++{key}={kind}" for key in keys)).decode)
    text = problems["data.train.supervised.dataset.on_error"]
    first = names if kind == "auto" else [names[0], names[1], names[2]]
    assert text.startswith(f"{len(first)} of 40 images cannot be read")
    assert all(name in text for name in first)


def test_skipped_images_are_counted_before_the_first_step(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = spoil(root, 0, 5, 6)
    loaders = ("supervised", "unlabeled")
    data = module(root, *(f"++data.train.{name}.dataset.on_error=skip" for name in loaders))
    data.decode()
    assert gather_skipped(data.datasets) == {
        "supervised": sorted(names),
        "unlabeled": sorted(names),
    }
    assert unreadable_counts(data.datasets) == {"supervised": 3, "unlabeled": 3}
    assert f"data.train.supervised: 3 of 40 images cannot be read and are skipped: {names[0]}" in (
        caplog.text
    )
    for batch in data.train_dataloader():
        assert not {0, 5, 6} & set(batch["supervised"]["index"].tolist())


def test_labels_that_cannot_be_read_are_not_listed_and_a_lost_class_is_reported(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = spoil(root, *range(20))  # all of class a
    skip = (f"++data.train.{name}.dataset.on_error=skip" for name in ("supervised", "unlabeled"))
    data = module(root, *skip)
    assert "skipped" not in caplog.text
    data.decode()
    assert "data.train.supervised: no labeled image of a can be read" in caplog.text
    assert data.labels.counts()["supervised"] == {"b": 20}
    data.labels.write_list(tmp_path / "labels.csv")
    assert not any(name in (tmp_path / "labels.csv").read_text() for name in names)


def checked_samples(
    root: Path, folder: Path | None = None, cache: str = "disk", **settings: str
) -> Samples | None:
    samples = indexed("image_folder", str(root), "train", **settings)
    samples = cache_samples(samples, cache, folder=root.parent / "c")
    check_readable(samples, "x", folder)
    return samples


@pytest.mark.parametrize("cache", ["disk", "ram", "none"])
def test_sound_images_pass_in_silence(
    root: Path, cache: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert checked_samples(root, cache=cache).skipped == []
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_rows_that_are_not_read_may_be_broken(root: Path) -> None:
    spoil(root, 3)
    samples = cache_samples(indexed("image_folder", str(root), "train"), "ram")
    check_readable(samples.select(np.array([0, 1, 2])), "x")


def test_long_lists_go_to_a_file(root: Path) -> None:
    names = spoil(root, *range(30))
    text = problems_of(lambda: checked_samples(root, root.parent))["on_error"]
    assert text.startswith("30 of 40 images cannot be read")
    assert names[9] in text and names[10] not in text
    assert "and 20 more (all of them are in " in text
    assert (root.parent / "unreadable.txt").read_text().split() == names
    shutil.rmtree(root.parent / "c")
    (root.parent / "file").touch()
    assert (
        "and 20 more; on_error"
        in problems_of(lambda: checked_samples(root, root.parent / "file"))["on_error"]
    )


def test_nothing_to_go_on_with_is_refused_though_it_is_skipped(root: Path) -> None:
    for path in (root / "train").rglob("*.png"):
        path.write_bytes(b"")
    text = problems_of(lambda: checked_samples(root, cache="none", on_error="skip"))["on_error"]
    assert text.startswith("40 of 40 images cannot be read")
    assert "skip" not in text


def test_images_that_are_not_cached_are_probed(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = spoil(root, 3, 9)
    assert problems_of(lambda: checked_samples(root, cache="none"))["on_error"].startswith(
        "2 of 40 images"
    )
    samples = checked_samples(root, cache="none", on_error="skip")
    assert samples.skipped == names
    assert "2 of 40" in caplog.text
    large = indexed("image_folder", str(root), "train", on_error="skip")
    check_readable(large, "data.train.supervised", max_probed=39)
    assert large.skipped == []


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_no_format_is_taken_for_broken(
    root: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in sorted((root / "train").rglob("*.png")):
        Image.open(path).save(path, kind)
    decoded = []
    monkeypatch.setattr(ImageFiles, "__call__", lambda _, position: decoded.append(position))
    assert checked_samples(root, cache="none").skipped == []
    assert decoded == [0, 1]


def test_images_with_unknown_signatures_that_can_be_read_pass(root: Path) -> None:
    path = sorted((root / "train").rglob("*.png"))[4]
    path.write_bytes(b"P3\n1 1\n255\n1 2 3\n")
    assert checked_samples(root, cache="none").skipped == []


def test_the_first_images_that_can_be_read_are_found(root: Path) -> None:
    spoil(root, 0, 2)
    samples = indexed("image_folder", str(root), "train")
    assert [sample["index"] for sample in first_readable_samples(samples)] == [1, 3]
    spoil(root, *range(40))
    with pytest.raises(UnreadableSampleError, match=r"00\.png cannot be read"):
        first_readable_samples(samples)
