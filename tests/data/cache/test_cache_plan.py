"""Which data sets are decoded once: always the same samples, whatever is kept of them."""

import os
import signal
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from readers import indexed
from torchvision.transforms import v2

from sesemi_like.data import StreamedSamples
from sesemi_like.data.cache import plan as cached
from sesemi_like.data.cache.plan import cache_samples, plan_cache
from sesemi_like.data.cache.reader import CachedReader
from sesemi_like.data.cache.storage import Storage
from sesemi_like.data.readers import Draws
from sesemi_like.data.samples import Samples
from sesemi_like.data.sources import decoding
from sesemi_like.data.sources.image_reader import is_deterministic
from sesemi_like.data.splits import choose_part
from sesemi_like.errors import ConfigError, UnreadableSampleError
from sesemi_like.transforms import train_transforms

TO_32 = v2.Compose([v2.Resize(32), v2.CenterCrop(32), v2.PILToTensor()])


@pytest.fixture
def image_root(tmp_path: Path) -> Path:
    """30 images of 60 x 50 pixels in two classes."""
    generator = np.random.default_rng(0)
    for number in range(30):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (50, 60, 3), dtype=np.uint8)).save(path)
    return tmp_path / "images"


def is_cached(samples: Samples) -> bool:
    return isinstance(samples.read, CachedReader)


def assert_same(samples: Samples, others: Samples) -> None:
    assert len(samples) == len(others)
    for row in range(len(samples)):
        one, other = samples[row], others[row]
        assert one.keys() == other.keys()
        assert torch.equal(one["image"], other["image"])
        assert (one["target"], one["index"]) == (other["target"], other["index"])


@pytest.mark.parametrize("kind", ["auto", "disk", "ram"])
@pytest.mark.parametrize("transform", [None, TO_32])
def test_samples_are_the_same_and_are_read_at_once(
    image_root: Path, tmp_path: Path, kind: str, transform: Any
) -> None:
    samples = indexed("image_folder", str(image_root), image_transform=transform)
    found = cache_samples(samples, kind, folder=tmp_path / "cache")
    assert is_cached(found)
    assert (tmp_path / "cache").exists() is (kind != "ram")
    assert_same(found, samples)
    batch: Any = found.__getitems__([7, 2])
    assert torch.equal(batch.fields["image"][1], samples[2]["image"])
    assert batch.fields["target"].tolist() == [samples[7]["target"], samples[2]["target"]]
    assert batch.fields["index"].tolist() == [7, 2]


def test_rows_with_a_label_budget_keep_positions_and_labels(
    image_root: Path, tmp_path: Path
) -> None:
    samples = choose_part(
        indexed("image_folder", str(image_root)), part="labelled", labels_per_class=3
    )
    assert_same(cache_samples(samples, "disk", folder=tmp_path / "cache"), samples)


def test_random_transforms_are_applied_at_each_reading(image_root: Path, tmp_path: Path) -> None:
    transform = train_transforms(crop_dim=16)
    samples = indexed("image_folder", str(image_root), image_transform=transform)
    found = cache_samples(samples, "auto", folder=tmp_path / "cache")
    assert is_cached(found)  # 50 pixels: nothing need be made smaller
    torch.manual_seed(0)
    first = found[3]["image"]
    assert not torch.equal(first, found[3]["image"])
    torch.manual_seed(0)
    assert torch.equal(first, samples[3]["image"])


def test_auto_never_makes_images_smaller_and_disk_bounds_them(tmp_path: Path) -> None:
    path = tmp_path / "images" / "a" / "large.png"
    path.parent.mkdir(parents=True)
    Image.new("RGB", (900, 600), (10, 20, 30)).save(path)
    transform = train_transforms(crop_dim=112)
    samples = indexed("image_folder", str(tmp_path / "images"), image_transform=transform)
    assert not is_cached(cache_samples(samples, "auto", folder=tmp_path / "cache"))
    kept: Any = cache_samples(samples, "disk", folder=tmp_path / "cache")
    assert kept.read.cache[0].shape == (128, 192, 3)  # 8/7 of 112
    larger: Any = cache_samples(samples, "disk", side=300, folder=tmp_path / "cache")
    assert larger.read.cache[0].shape == (300, 450, 3)
    assert kept[0]["image"].shape == (3, 112, 112)


def test_a_changed_image_is_decoded_again(image_root: Path, tmp_path: Path) -> None:
    samples = indexed("image_folder", str(image_root))
    cache_samples(samples, "disk", folder=tmp_path / "cache")
    path = sorted(image_root.rglob("*.png"))[0]
    Image.new("RGB", (60, 50), (1, 2, 3)).save(path)
    os.utime(path, ns=(1, 1))
    found = cache_samples(samples, "disk", folder=tmp_path / "cache")
    assert found[0]["image"].flatten(1).unique(dim=1).flatten().tolist() == [1, 2, 3]


@pytest.mark.parametrize("kind", ["disk", "ram"])
def test_exif_orientation_is_applied_in_the_cache(tmp_path: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "images" / "a" / "phone.jpg"
    path.parent.mkdir(parents=True)
    Image.effect_noise((60, 40), 80).save(path, exif=exif, quality=95)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    found = cache_samples(
        indexed("image_folder", str(path.parents[1])), kind, folder=tmp_path / "c"
    )
    assert is_cached(found)
    assert np.array_equal(found[0]["image"][0].numpy(), expected)


def test_another_decoder_or_version_has_another_cache(
    image_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = indexed("image_folder", str(image_root))
    key = plan_cache(samples, "disk", folder=tmp_path).key.name
    assert plan_cache(samples, "disk", folder=tmp_path).key.name == key
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "jpeg_decoder", lambda: "another library")
        assert plan_cache(samples, "disk", folder=tmp_path).key.name != key
    monkeypatch.setattr(decoding, "VERSION", decoding.VERSION + 1)
    assert plan_cache(samples, "disk", folder=tmp_path).key.name != key


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_unreadable_images_are_reported_or_skipped_as_without_a_cache(
    image_root: Path, tmp_path: Path, on_error: str
) -> None:
    broken = sorted(image_root.rglob("*.png"))[4]
    broken.write_bytes(b"no image")
    samples = indexed("image_folder", str(image_root), on_error=on_error)
    found = cache_samples(samples, "disk", folder=tmp_path / "cache")
    assert is_cached(found)
    if on_error == "raise":
        with pytest.raises(UnreadableSampleError, match=broken.name):
            found[4]
    else:
        assert found[4]["index"] == 5
        assert found.skipped == [f"a/{broken.name}"]


Usage = namedtuple("Usage", "free")


@pytest.mark.parametrize(
    ("disk", "memory", "place"),
    [(10**9, 10**9, "disk"), (1000, 10**9, "ram"), (1000, 1000, None)],
)
def test_auto_takes_the_place_with_room(
    image_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    disk: int,
    memory: int,
    place: str | None,
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(disk))
    monkeypatch.setattr(cached, "free_memory", lambda: memory)
    found = cache_samples(
        indexed("image_folder", str(image_root)), "auto", folder=tmp_path / "cache"
    )
    assert is_cached(found) is (place is not None)
    assert (tmp_path / "cache").exists() is (place == "disk")


def test_processes_on_a_machine_share_its_memory(
    image_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(0))
    samples = indexed("image_files", str(image_root))
    needed = cached.plan_cache(samples).needed
    monkeypatch.setattr(cached, "free_memory", lambda: 6 * needed)
    assert cached.plan_cache(samples, processes=2).locations() == ["ram"]
    assert cached.plan_cache(samples, processes=3) is None
    with pytest.raises(ConfigError, match="of memory are free"):
        cached.plan_cache(samples, "ram", processes=7)


@pytest.mark.parametrize("kind", ["auto", "disk", "ram"])
def test_a_killed_worker_ends_the_build_with_its_reason(
    image_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    decode, main = Storage.pixels, os.getpid()

    def killed_at_the_third(storage: Any, position: Any) -> Any:
        if os.getpid() != main and position == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(storage, position)

    monkeypatch.setattr(Storage, "pixels", killed_at_the_third)
    samples = indexed("image_files", str(image_root))
    with pytest.raises(ConfigError, match=rf"cache: found '{kind}'; decoding ended: .*[Kk]illed"):
        cache_samples(samples, kind, folder=tmp_path / "cache", workers=1)
    assert not list(tmp_path.glob("cache/*.tmp*"))
    assert not list(tmp_path.glob("cache/*/"))


def test_what_cannot_be_kept_is_reported(
    image_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = indexed("image_folder", str(image_root))
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(1000))
    with pytest.raises(
        ConfigError, match=r"cache: found 'disk'; the pixels take [1-9][0-9.]* k?B, and 1\.0 kB"
    ):
        cache_samples(samples, "disk", folder=tmp_path / "cache")
    monkeypatch.undo()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="no cache can be kept in"):
        cache_samples(samples, "disk", folder=tmp_path / "file")
    for other in (indexed("digits"), StreamedSamples([])):
        assert cache_samples(other, "auto") is other
        with pytest.raises(ConfigError, match="no image files"):
            cache_samples(other, "ram")


def test_auto_goes_on_where_the_disk_refuses(
    image_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("")
    samples = indexed("image_folder", str(image_root))
    found = cache_samples(samples, "auto", folder=tmp_path / "file")
    assert is_cached(found)
    assert "no cache can be kept in" in caplog.text
    assert_same(found, samples)
    monkeypatch.setattr(cached, "free_memory", lambda: 0)
    assert cache_samples(samples, "auto", folder=tmp_path / "file") is samples


def test_a_cache_that_is_there_is_taken_though_the_disk_is_full(
    image_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = indexed("image_folder", str(image_root))
    cache_samples(samples, "disk", folder=tmp_path / "cache")
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(1000))
    for kind in ("auto", "disk"):
        assert is_cached(cache_samples(samples, kind, folder=tmp_path / "cache"))


def test_memory_is_looked_at_again_before_it_is_filled(
    image_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = indexed("image_folder", str(image_root))
    cache_samples(samples, "disk", folder=tmp_path / "cache")
    needed = 30 * 50 * 60 * 3
    monkeypatch.setattr(cached, "free_memory", lambda: needed - 1)
    with pytest.raises(ConfigError, match="of memory are free"):  # a cache on disk is no help
        plan_cache(samples, "ram", folder=tmp_path / "cache")
    monkeypatch.setattr(cached, "free_memory", lambda: needed)
    plan = plan_cache(samples, "ram", folder=tmp_path / "cache")
    monkeypatch.setattr(cached, "free_memory", lambda: needed - 1)
    with pytest.raises(ConfigError, match="of memory are free"):
        plan.build()


def test_a_user_without_a_home_keeps_images_in_memory(
    image_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwd = pytest.importorskip("pwd")
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name)

    def no_home(user: int) -> None:
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", no_home)
    samples = indexed("image_folder", str(image_root))
    found: Any = cache_samples(samples, "auto")
    assert isinstance(found.read.cache.chunks[0], np.ndarray)
    with pytest.raises(ConfigError, match=r"no home folder .* give run\.cache_dir"):
        cache_samples(samples, "disk")


@pytest.mark.parametrize(
    ("transform", "expected"),
    [(None, True), (TO_32, True), (v2.RandomHorizontalFlip(), False), (lambda image: image, False),
     (v2.Compose([v2.Resize(8), v2.ColorJitter(0.1)]), False)],
)  # fmt: skip
def test_deterministic_transforms_are_recognized(transform: Any, expected: bool) -> None:
    assert is_deterministic(transform) is expected


def test_large_images_are_decoded_smaller_where_the_transform_resizes_them(tmp_path: Path) -> None:
    path = tmp_path / "a" / "large.jpg"
    path.parent.mkdir()
    Image.effect_noise((1600, 1200), 80).convert("RGB").save(path)
    seen = []
    record = v2.Lambda(lambda image: seen.append(image.size) or image)
    resized: Any = indexed(
        "image_folder", str(tmp_path), image_transform=v2.Compose([v2.Resize(100)])
    )
    assert resized.read.least == 200
    resized.read.image_transform, resized.read.draws = record, Draws.ANY
    resized[0]
    plain = indexed("image_folder", str(tmp_path), image_transform=record)
    plain[0]
    assert seen == [(400, 300), (1600, 1200)]
