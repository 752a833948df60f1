"""Shards: what is written is read again, split over all readers, in an order that can go on."""

import functools
import http.server
import io
import json
import tarfile
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from sesemi_like.data import dataset
from sesemi_like.data.loaders import NamedLoaders, build_loader
from sesemi_like.data.shards import main, write_shards
from sesemi_like.errors import ConfigError, UnreadableSampleError


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """50 pictures, half of them JPEG files, of two classes and of none."""
    root = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for number in range(50):
        kind = ["train/cat", "train/dog", "heap"][number % 3]
        path = root / kind / f"{number:02}.{'jpg' if number % 2 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    return root


@pytest.fixture(scope="module")
def folder(pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp("shards")
    write_shards(dataset("image_folder", str(pictures)), out, samples_per_shard=8)
    return out


def by_index(samples):
    return {int(sample["index"]): sample for sample in samples}


def test_what_is_written_is_read_again(pictures, folder):
    source, found = dataset("image_folder", str(pictures)), dataset("shards", str(folder))
    assert found.num_samples == 50
    assert found.classes == ["cat", "dog"]
    assert len(list(folder.glob("*.tar"))) == 7
    read = by_index(found)
    assert sorted(read) == list(range(50))
    for row in range(50):
        assert torch.equal(read[row]["image"], source[row]["image"])
        assert read[row]["target"] == source[row]["target"]


def test_every_shard_has_something_of_every_class(folder):
    for path in sorted(folder.glob("*.tar"))[:-1]:
        with tarfile.open(path) as tar:
            labels = {tar.extractfile(m).read() for m in tar if m.name.endswith(".cls")}
        assert labels == {b"0", b"1"}


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("world_size", "workers"), [(1, 0), (2, 0), (1, 2), (2, 2), (2, 5)])
def test_readers_share_the_samples_out(folder, shuffle, world_size, workers):
    seen = []
    for rank in range(world_size):
        found = dataset("shards", str(folder), buffer=5)
        loader = build_loader(
            {"shuffle": shuffle, "num_workers": workers}, found, key="k", batch_size=4, seed=1,
            rank=rank, world_size=world_size,
        )  # fmt: skip
        seen += [int(i) for batch in loader for i in batch["index"]]
    assert sorted(seen) == list(range(50))


def order(found):
    return [int(sample["index"]) for sample in found]


def test_each_pass_has_an_order_of_its_own_that_the_seed_settles(folder):
    found, again = (dataset("shards", str(folder), buffer=20) for _ in range(2))
    found.shuffle = again.shuffle = True
    first, second = order(found), order(found)
    assert sorted(first) == sorted(second)
    assert first != second
    again.set_pass(1)
    assert order(again) == second
    places = np.argsort(first)
    assert abs(np.corrcoef(np.arange(50), places)[0, 1]) < 0.5


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["shards", "image_folder"])
def test_a_run_resumed_within_an_epoch_goes_on_with_the_next_batches(
    pictures, folder, kind, workers
):
    def loaders():
        built = {}
        for name, size in (("long", 4), ("short", 13)):
            found = dataset(kind, str(folder if kind == "shards" else pictures))
            config = {"shuffle": True, "num_workers": workers, "drop_last": True}
            built[name] = build_loader(config, found, key=name, batch_size=size, seed=1)
        return NamedLoaders(built)

    def rows(step):
        return {name: batch["index"].tolist() for name, batch in step.items()}

    whole = [rows(step) for step in loaders()]
    assert len(whole) == 12
    stopped = loaders()
    for _, _step in zip(range(7), stopped, strict=False):
        pass
    resumed = loaders()
    resumed.load_state_dict(stopped.state_dict())
    rest = [rows(step) for step in resumed]
    assert rest == whole[7:]
    assert stopped.state_dict() == {"step": 7}


@pytest.fixture
def url(folder):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_shards_are_read_over_http(url, folder):
    local = by_index(dataset("shards", str(folder)))
    found = by_index(dataset("shards", url))
    assert found.keys() == local.keys()
    assert all(torch.equal(found[i]["image"], local[i]["image"]) for i in local)


def test_a_missing_index_is_told(tmp_path, url):
    for root in (str(tmp_path), f"{url}/nothing"):
        with pytest.raises(ConfigError, match=r"index\.json cannot be read"):
            dataset("shards", root)
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"index\.json cannot be read"):
        dataset("shards", str(tmp_path))


def test_a_broken_picture_in_a_shard_is_named(tmp_path):
    with tarfile.open(tmp_path / "00000.tar", "w") as tar:
        member = tarfile.TarInfo("000000007.jpg")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"junk"))
    index = {"shards": [{"name": "00000.tar", "samples": 1}], "classes": None}
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(UnreadableSampleError, match=r"00000\.tar: 000000007"):
        list(dataset("shards", str(tmp_path)))


def test_the_converter_writes_smaller_pictures_and_skips_broken_ones(pictures, tmp_path, capsys):
    source = tmp_path / "source"
    for name in ("a", "b"):
        (source / "x").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (90, 60), (200, 10, 10)).save(source / "x" / f"{name}.png")
    (source / "x" / "broken.png").write_bytes(b"no picture")
    command = ["--name", "image_folder", "--root", str(source), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match=r"broken\.png cannot be read"):
        main([*command, "--side", "20"])
    assert not (tmp_path / "out" / "index.json").exists()
    main([*command, "--side", "20", "--skip-unreadable"])
    assert "2 samples in 1 shards" in capsys.readouterr().out
    found = list(dataset("shards", str(tmp_path / "out")))
    assert [tuple(sample["image"].shape) for sample in found] == [(3, 20, 30)] * 2


def test_arrays_are_converted_without_loss(tmp_path):
    digits = dataset("digits", subset="test")
    write_shards(digits, tmp_path, samples_per_shard=100)
    read = by_index(dataset("shards", str(tmp_path)))
    for row in range(0, 360, 50):
        assert torch.equal(read[row]["image"][:1], digits[row]["image"])


def test_batches_of_shards_are_stacked(folder):
    loader = DataLoader(dataset("shards", str(folder)), batch_size=10)
    assert next(iter(loader))["image"].shape == (10, 3, 8, 8)
