"""Shards: what is written is read again, split over all readers, in an order that can go on."""

import functools
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from readers import indexed, sharded
from torch.utils.data import DataLoader

from sesemi_like.data import dataset
from sesemi_like.data.convert import write_shards
from sesemi_like.data.loading.loaders import build_loader, length_of
from sesemi_like.data.loading.named_loaders import NamedLoaders
from sesemi_like.data.sources.shards import ShardedSamples
from sesemi_like.errors import ConfigError, UnreadableSampleError


@pytest.fixture(scope="module")
def image_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 images, half of them JPEG files, of two classes and of none."""
    root = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for number in range(50):
        kind = ["train/cat", "train/dog", "heap"][number % 3]
        path = root / kind / f"{number:02}.{'jpg' if number % 2 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    return root


@pytest.fixture(scope="module")
def folder(image_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards")
    write_shards(indexed("image_folder", str(image_root)), out, samples_per_shard=8)
    return out


def by_index(samples: ShardedSamples) -> dict[int, dict[str, Any]]:
    return {int(sample["index"]): sample for sample in samples}


def test_what_is_written_is_read_again(image_root: Path, folder: Path) -> None:
    source, found = indexed("image_folder", str(image_root)), sharded(str(folder))
    assert found.num_samples == 50
    assert found.classes == ["cat", "dog"]
    assert len(list(folder.glob("*.tar"))) == 7
    read = list(found)
    assert [sample["index"] for sample in read] == list(range(50))
    rows = {source[row]["image"].numpy().tobytes(): row for row in range(50)}
    written = [rows[sample["image"].numpy().tobytes()] for sample in read]
    assert sorted(written) == list(range(50))
    assert [s["target"] for s in read] == [source[row]["target"] for row in written]


def test_labels_beyond_the_classes_are_reported_or_skipped(folder: Path) -> None:
    found = sharded(str(folder))
    found.num_classes = 1
    with pytest.raises(UnreadableSampleError, match=r"\.tar: .*its target is 1; needs a class"):
        list(found)
    found.on_error = "skip"
    assert {sample["target"] for sample in found} == {-1, 0}


def test_every_shard_has_something_of_every_class(folder: Path) -> None:
    for path in sorted(folder.glob("*.tar"))[:-1]:
        with tarfile.open(path) as tar:
            labels = {tar.extractfile(m).read() for m in tar if m.name.endswith(".cls")}
        assert labels == {b"0", b"1"}


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(
    ("world_size", "workers"), [(1, 0), (2, 0), (1, 2), (2, 2), (2, 5), (3, 3)]
)
def test_readers_divide_the_samples(
    folder: Path, shuffle: bool, world_size: int, workers: int
) -> None:
    seen = []
    for rank in range(world_size):
        found = sharded(str(folder), buffer=5)
        loader = build_loader(
            {"shuffle": shuffle, "num_workers": workers}, found, key="k", batch_size=4, seed=1,
            rank=rank, world_size=world_size,
        )  # fmt: skip
        batches = [batch["index"].tolist() for batch in loader]
        assert len(batches) - length_of(loader) in (0, 1)
        assert sum(len(batch) < 4 for batch in batches) <= 1
        seen += [i for batch in batches for i in batch]
    assert sorted(seen) == list(range(50))


def order(found: ShardedSamples) -> list[int]:
    return [int(sample["index"]) for sample in found]


def test_each_pass_has_an_order_of_its_own_that_the_seed_settles(folder: Path) -> None:
    found, again = (sharded(str(folder), buffer=20) for _ in range(2))
    found.shuffle = again.shuffle = True
    first = order(found)
    found.set_pass(1)
    second = order(found)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    again.set_pass(1)
    assert order(again) == second
    places = np.argsort(first)
    assert abs(np.corrcoef(np.arange(50), places)[0, 1]) < 0.5


@pytest.mark.parametrize("workers", [0, 2, 3])
@pytest.mark.parametrize("kind", ["shards", "image_folder"])
def test_a_run_resumed_within_an_epoch_goes_on_with_the_next_batches(
    image_root: Path, folder: Path, kind: str, workers: int
) -> None:
    def loaders(drop_last: bool) -> NamedLoaders:
        built: dict[str, Any] = {}
        for name, size in (("long", 4), ("short", 13)):
            found = dataset(kind, str(folder if kind == "shards" else image_root))
            config = {"shuffle": True, "num_workers": workers, "drop_last": drop_last}
            built[name] = build_loader(config, found, key=name, batch_size=size, seed=1)
        return NamedLoaders(built)

    def rows(step: dict[str, dict[str, torch.Tensor]]) -> dict[str, list[int]]:
        return {name: batch["index"].tolist() for name, batch in step.items()}

    for drop_last in (False, True):
        whole = [rows(step) for step in loaders(drop_last)]
        assert len(whole) >= 12
        for stop in (1, 7, len(whole) - 1):
            stopped = loaders(drop_last)
            for _, _step in zip(range(stop), stopped, strict=False):
                pass
            assert stopped.state_dict() == {"step": stop}
            resumed = loaders(drop_last)
            resumed.load_state_dict(stopped.state_dict())
            assert [rows(step) for step in resumed] == whole[stop:]


@pytest.mark.parametrize("persistent", [False, True])
def test_shorter_loaders_start_again_in_another_order(folder: Path, persistent: bool) -> None:
    built = {}
    for name, size in (("long", 4), ("short", 10)):
        config = {"shuffle": True, "num_workers": 2, "persistent_workers": persistent}
        found = sharded(str(folder))
        built[name] = build_loader(config, found, key=name, batch_size=size, seed=1)
    epochs: list[Any] = []
    steps = NamedLoaders(built, lambda: len(epochs))
    firsts = []
    for _ in range(2):
        short = [step["short"]["index"].tolist() for step in steps]
        firsts += [short[0], short[6], short[12]]
        epochs.append(short)
    assert len({tuple(rows) for rows in firsts}) == 6


def test_a_look_at_the_data_leaves_the_loader_of_training_alone(folder: Path) -> None:
    found = sharded(str(folder))
    config = {"shuffle": True, "num_workers": 0}
    loader: Any = build_loader(config, found, key="k", batch_size=4, seed=1, world_size=2)
    loader.dataset.set_pass(3, 1)
    rest = [batch["index"].tolist() for batch in loader]
    look = build_loader({"num_workers": 0}, found, key="look", batch_size=9, seed=1)
    assert [i for batch in look for i in batch["index"].tolist()] == list(range(50))
    assert [batch["index"].tolist() for batch in loader] == rest


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_shards_are_read_over_http(url: str, folder: Path) -> None:
    local = by_index(sharded(str(folder)))
    found = by_index(sharded(url))
    assert found.keys() == local.keys()
    assert all(torch.equal(found[i]["image"], local[i]["image"]) for i in local)


def test_a_missing_index_is_reported(tmp_path: Path, url: str) -> None:
    for root in (str(tmp_path), f"{url}/nothing"):
        with pytest.raises(ConfigError, match=r"index\.json cannot be read"):
            sharded(root)
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"index\.json cannot be read"):
        sharded(str(tmp_path))


def test_a_broken_image_in_a_shard_is_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "00000.tar", "w") as tar:
        member = tarfile.TarInfo("000000007.jpg")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"junk"))
    index = {"shards": [{"name": "00000.tar", "samples": 1}], "classes": None}
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(UnreadableSampleError, match=r"00000\.tar: 000000007"):
        list(sharded(str(tmp_path)))
    assert list(sharded(str(tmp_path), on_error="skip")) == []


def write_foreign_shard(root: Path, names: dict[str, Any], listed: int | None = None) -> None:
    """Writes a shard of other names than the converter's, and an index of it."""
    image = io.BytesIO()
    Image.new("RGB", (4, 4), (9, 8, 7)).save(image, "JPEG")
    with tarfile.open(root / "a.tar", "w") as tar:
        for name, content in names.items():
            member = tarfile.TarInfo(name)
            member.size = len(content or image.getvalue())
            tar.addfile(member, io.BytesIO(content or image.getvalue()))
    index = {"shards": [{"name": "a.tar", "samples": listed or len(names)}]}
    (root / "index.json").write_text(json.dumps(index))


def test_shards_of_other_programs_are_read(tmp_path: Path) -> None:
    write_foreign_shard(tmp_path, {"x/apple.jpeg": None, "x/pear.JPG": None})
    found = list(sharded(str(tmp_path)))
    assert [(s["index"], s["target"]) for s in found] == [(0, -1), (1, -1)]
    assert found[0]["image"].shape == (3, 4, 4)


@pytest.mark.parametrize(
    ("names", "listed", "message"),
    [
        ({"a.jpg": None, "a.cls": b"cat"}, 1, "a.tar: a: invalid literal"),
        ({"a.txt": b"words"}, 1, "a.tar: a: it has no jpg, jpeg, png"),
        ({"a.jpg": None}, 3, "has 1 samples; index.json says there are more"),
    ],
)
def test_what_no_sample_can_be_made_of_is_named(
    tmp_path: Path, names: dict[str, Any], listed: int, message: str
) -> None:
    write_foreign_shard(tmp_path, names, listed)
    with pytest.raises(UnreadableSampleError, match=message):
        list(sharded(str(tmp_path)))


def test_a_shard_that_cannot_be_read_is_named_or_skipped(
    folder: Path, tmp_path: Path, url: str
) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "00001.tar").unlink()
    whole = (tmp_path / "00003.tar").read_bytes()
    (tmp_path / "00003.tar").write_bytes(whole[:600])  # within the first image
    with pytest.raises(UnreadableSampleError, match=r"00001\.tar cannot be read: .*No such file"):
        list(sharded(str(tmp_path)))
    (tmp_path / "00001.tar").write_bytes((folder / "00001.tar").read_bytes())
    with pytest.raises(
        UnreadableSampleError,
        match=r"00003\.tar cannot be read: it is no whole tar file \(unexpected end of data\)",
    ):
        list(sharded(str(tmp_path)))
    read = [sample["index"] for sample in sharded(str(tmp_path), on_error="skip")]
    assert set(read) >= {*range(24), *range(32, 50)}
    found = sharded(url)
    found.shards.append(("missing.tar", 1))
    with pytest.raises(UnreadableSampleError, match=r"missing\.tar cannot be read: .*404"):
        list(found)


@pytest.mark.parametrize("buffer", [0, -1, "many"])
def test_an_empty_buffer_is_refused(folder: Path, buffer: int | str) -> None:
    with pytest.raises(ConfigError, match="a number of samples, 1 or more"):
        sharded(str(folder), buffer=buffer)


def test_too_few_samples_for_every_reader_are_reported(folder: Path) -> None:
    found, config = sharded(str(folder)), {"drop_last": True, "num_workers": 3}
    several: dict[str, Any] = {"key": "k", "seed": 1, "world_size": 3}
    with pytest.raises(ConfigError, match="no batch of 20 from 50 samples, shared by 3"):
        build_loader(config, found, batch_size=20, **several)
    found.shards = [("00000.tar", 2)]
    with pytest.raises(ConfigError, match=r"k\.dataset: found 2; too few samples, shared by 3"):
        build_loader({}, found, batch_size=20, **several)


def test_processes_take_as_many_steps_whatever_their_workers(folder: Path) -> None:
    lengths, passes = set(), []
    for rank, workers in ((0, 0), (1, 3), (2, 2)):
        built: dict[str, Any] = {}
        for name, size in (("long", 3), ("short", 5)):
            config, found = (
                {"shuffle": True, "num_workers": workers},
                sharded(str(folder)),
            )
            found.shards[0] = ("00000.tar", 8)
            built[name] = build_loader(
                config, found, key=name, batch_size=size, seed=1, rank=rank, world_size=3
            )
        told: list[Any] = []
        set_pass = built["short"].dataset.set_pass
        built["short"].dataset.set_pass = lambda *given, set_pass=set_pass, told=told: (
            told.append(given[0]) or set_pass(*given)
        )
        loaders = NamedLoaders(built)
        lengths.add((len(loaders), sum(1 for _ in loaders)))
        passes.append(told)
    assert lengths == {(6, 6)}
    assert passes[0] == passes[1] == passes[2] == [0, 1]


def test_a_run_that_skips_torn_shards_can_be_resumed(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "00003.tar").write_bytes(b"")
    found = sharded(str(tmp_path), on_error="skip")
    built = build_loader({"num_workers": 0}, found, key="k", batch_size=5, seed=1)
    loaders = NamedLoaders({"k": built})
    assert sum(1 for _ in loaders) == 10
    loaders.load_state_dict({"step": 9})
    assert sum(1 for _ in loaders) == 1


def test_batches_of_shards_are_stacked(folder: Path) -> None:
    loader = DataLoader(sharded(str(folder)), batch_size=10)
    assert next(iter(loader))["image"].shape == (10, 3, 8, 8)


@pytest.mark.parametrize("subset", [7, "7", ["7"]])
def test_a_subset_is_a_folder_of_shards(
    image_root: Path, tmp_path: Path, subset: int | str | list[str]
) -> None:
    write_shards(indexed("image_folder", str(image_root), "heap"), tmp_path / "7")
    assert sharded(str(tmp_path), subset).num_samples == 16
    with pytest.raises(ConfigError, match="subset: found"):
        sharded(str(tmp_path), ["7", "8"])
    with pytest.raises(ConfigError, match="subset: found"):
        sharded(str(tmp_path), {"7": "8"})
