"""Data sets in memory, read from files laid out as their publishers do; downloads by loopback."""

import functools
import hashlib
import http.server
import io
import json
import pickle
import struct
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from composing import composed
from numpy.typing import NDArray
from readers import indexed
from sklearn.datasets import load_digits
from torchvision import datasets

from sesemi_like.config.check import check
from sesemi_like.errors import ConfigError
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES

GENERATOR = np.random.default_rng(0)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def cifar(monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, NDArray[Any], NDArray[Any]]:
    """CIFAR-10's archive with 40 + 10 images; returns (archive, train images, labels)."""
    pixels = GENERATOR.integers(0, 256, (50, 3 * 32 * 32), dtype=np.uint8)
    labels = [i % 2 for i in range(50)]
    files = {
        name: pickle.dumps({"data": pixels[rows], "labels": labels[rows]})
        for name, rows in {"data_batch_1": slice(0, 40), "test_batch": slice(40, 50)}.items()
    }
    files["batches.meta"] = pickle.dumps({"label_names": ["plane", "car"]})
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{datasets.CIFAR10.base_folder}/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    sums = {name: md5(content) for name, content in files.items()}
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [["data_batch_1", sums["data_batch_1"]]])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    meta = {**datasets.CIFAR10.meta, "md5": sums["batches.meta"]}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(stream.getvalue()))
    return stream.getvalue(), pixels.reshape(50, 3, 32, 32), np.array(labels)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A server on this machine alone; returns (its folder, its address)."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_cifar10_is_downloaded_checked_and_read(
    cifar: tuple[bytes, NDArray[Any], NDArray[Any]],
    server: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive, pixels, labels = cifar
    folder, address = server
    (folder / "cifar.tar.gz").write_bytes(archive)
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{address}/cifar.tar.gz")
    root = str(tmp_path / "data")
    samples = indexed("cifar10", root, "train", download=True)
    assert samples.classes == ["plane", "car"]
    assert samples.targets.tolist() == labels[:40].tolist()
    assert (samples[7]["image"].numpy() == pixels[7]).all()
    # It is there now: no download is needed.
    test = indexed("cifar10", root, "test")
    assert (test[3]["image"].numpy() == pixels[43]).all()
    assert len(indexed("cifar10", root)) == 50


def test_a_damaged_download_is_reported(
    cifar: tuple[bytes, NDArray[Any], NDArray[Any]],
    server: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, address = server
    (folder / "cifar.tar.gz").write_bytes(cifar[0][:-100])
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{address}/cifar.tar.gz")
    with pytest.raises(ConfigError, match="CIFAR10 is missing or damaged"):
        indexed("cifar10", str(tmp_path / "data"), "train", download=True)


def test_missing_files_are_reported_with_the_way_to_get_them(tmp_path: Path) -> None:
    for kind in ("cifar10", "cifar100", "mnist", "fashion_mnist", "stl10", "svhn"):
        with pytest.raises(ConfigError, match="download: true downloads it") as caught:
            indexed(kind, str(tmp_path), "train")
        assert caught.value.problems[0].key == "root"


def test_val_is_the_last_tenth_of_each_class_and_holdout_leaves_it_out(
    cifar: tuple[bytes, NDArray[Any], NDArray[Any]], tmp_path: Path
) -> None:
    with tarfile.open(fileobj=io.BytesIO(cifar[0])) as tar:
        tar.extractall(tmp_path, filter="data")
    root = str(tmp_path)
    val = indexed("cifar10", root, "val")
    # 20 images of each class, which alternate: the last two of each are 36..39.
    assert sorted(val.row_ids()) == [f"val/{i}" for i in (36, 37, 38, 39)]
    train = indexed("cifar10", root, "train", holdout=True)
    assert train.row_ids() == [f"train/{i}" for i in range(36)]
    assert len(indexed("cifar10", root, "train")) == 40
    labels = indexed("cifar10", root, "train", holdout=True, labels_per_class=3, part="labelled")
    assert np.bincount(labels.targets).tolist() == [3, 3]


def test_stl10_has_an_unlabeled_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / datasets.STL10.base_folder
    folder.mkdir()
    counts = {"train": 4, "test": 3, "unlabeled": 5}
    content, sums = {}, {}
    for name, count in counts.items():
        content[name] = GENERATOR.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8)
        # The files are column-major.
        files = {f"{name}_X.bin": content[name].transpose(0, 1, 3, 2).tobytes()}
        if name != "unlabeled":
            files[f"{name}_y.bin"] = bytes(range(1, count + 1))
        for file, data in files.items():
            (folder / file).write_bytes(data)
            sums[file] = md5(data)
    (folder / "class_names.txt").write_text("airplane\nbird\ncar\ncat\n")
    for attribute in ("train_list", "test_list"):
        listed = [[name, sums[name]] for name, _ in getattr(datasets.STL10, attribute)]
        monkeypatch.setattr(datasets.STL10, attribute, listed)
    both = indexed("stl10", str(tmp_path), ["train", "unlabeled"])
    assert both.targets.tolist() == [0, 1, 2, 3] + [-1] * 5
    assert both.classes == ["airplane", "bird", "car", "cat"]
    assert (both[1]["image"].numpy() == content["train"][1]).all()
    assert (both[6]["image"].numpy() == content["unlabeled"][2]).all()
    assert indexed("stl10", str(tmp_path), "test").targets.tolist() == [0, 1, 2]


def test_svhn_has_channels_last_and_its_zero_is_ten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = GENERATOR.integers(0, 256, (32, 32, 3, 3), dtype=np.uint8)
    path = tmp_path / "train_32x32.mat"
    scipy.io.savemat(path, {"X": images, "y": np.array([[1], [10], [9]])})
    files = {**datasets.SVHN.split_list}
    files["train"] = ["", path.name, md5(path.read_bytes())]
    monkeypatch.setattr(datasets.SVHN, "split_list", files)
    samples = indexed("svhn", str(tmp_path), "train")
    assert samples.targets.tolist() == [1, 0, 9]
    assert (samples[2]["image"].numpy() == images[..., 2].transpose(2, 0, 1)).all()


@pytest.mark.parametrize("kind", ["mnist", "fashion_mnist"])
def test_mnist_has_one_channel(tmp_path: Path, kind: str) -> None:
    name = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}[kind]
    raw = tmp_path / name / "raw"
    raw.mkdir(parents=True)
    images = GENERATOR.integers(0, 256, (3, 28, 28), dtype=np.uint8)
    for split in ("train", "t10k"):
        head = struct.pack(">iiii", 0x803, 3, 28, 28)
        (raw / f"{split}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        labels = struct.pack(">ii", 0x801, 3) + bytes([5, 0, 9])
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(labels)
    samples = indexed(kind, str(tmp_path), "test")
    assert samples.targets.tolist() == [5, 0, 9]
    assert len(samples.classes) == 10
    assert (samples[1]["image"].numpy() == images[1:2]).all()


def test_digits_are_scikit_learns() -> None:
    every = indexed("digits")
    content = load_digits()
    row = int(every.row_ids()[100])
    assert every.targets[100] == content.target[row]
    shown = every[100]["image"][0].numpy() / 255 * 16
    np.testing.assert_allclose(shown, content.images[row], atol=0.04)


@pytest.mark.parametrize("seed", [0, 1])
def test_digits_are_split_by_class_without_overlap(seed: int) -> None:
    train, test = (indexed("digits", subset=s, split_seed=seed) for s in ("train", "test"))
    assert (len(train), len(test)) == (1437, 360)
    assert not set(train.row_ids()) & set(test.row_ids())
    shares = np.bincount(test.targets) / np.bincount([*train.targets, *test.targets])
    np.testing.assert_allclose(shares, 0.2, atol=0.01)


def test_an_unknown_subset_proposes_near_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'unlabeled'"):
        indexed("stl10", str(tmp_path), "unlabelled")
    with pytest.raises(ConfigError, match="did you mean 'train'"):
        indexed("digits", subset=["test", "trian"])


SMALL = [
    "run.num_iterations=2", "run.gpus=0", "data.train.supervised.batch_size_per_gpu=4",
    "data.train.unlabeled.batch_size_per_gpu=4", "data.train.supervised.num_workers=0",
    "data.train.unlabeled.num_workers=0", "data.val.num_workers=0", "data.test.num_workers=0",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fixmatch", "mean_teacher", "jigsaw"])
def test_the_cifar10_config_trains_on_its_own_data(
    cifar: tuple[bytes, NDArray[Any], NDArray[Any]], tmp_path: Path, method: str
) -> None:
    with tarfile.open(fileobj=io.BytesIO(cifar[0])) as tar:
        tar.extractall(tmp_path / "data", filter="data")
    (tmp_path / "data" / "cifar-10-python.tar.gz").write_bytes(cifar[0])
    config = composed("cifar10", f"method={method}", "backbone=wrn_28_2", *SMALL,
                      f"run.data_root={tmp_path}/data", f"run.dir={tmp_path}/runs")  # fmt: skip
    run(config, check(config, MODES))
    (path,) = tmp_path.glob("runs/cifar10/*/summary.json")
    summary = json.loads(path.read_text())
    assert summary["labels"]["supervised"] == {"plane": 4, "car": 4}
    assert summary["steps"] == 2
    assert 0 <= summary["metrics"]["test/top1"] <= 1
