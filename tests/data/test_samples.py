"""Samples as named fields: any data set as one of dict samples, and samples that cannot be read."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from readers import indexed
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from sesemi_like.data import dataset, register_dataset, registry
from sesemi_like.data.conversion import as_samples
from sesemi_like.data.samples import Samples, check_target
from sesemi_like.data.sources.image_reader import to_uint8
from sesemi_like.data.streams import StreamedSamples
from sesemi_like.errors import ConfigError, UnreadableSampleError


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "BUILDERS", dict(registry.BUILDERS))


@pytest.fixture
def heap(tmp_path: Path) -> Any:
    """Six gray images, of which the second and third are broken."""
    for value in range(6):
        Image.new("L", (4, 4), value).save(tmp_path / f"{value}.png")
    (tmp_path / "1.png").write_bytes(b"no image at all")
    whole = (tmp_path / "2.png").read_bytes()
    (tmp_path / "2.png").write_bytes(whole[: len(whole) // 2])
    return tmp_path


@pytest.mark.parametrize("row", [1, 2])
def test_an_unreadable_image_is_named(heap: Any, row: int) -> None:
    with pytest.raises(OSError, match=rf"{row}\.png cannot be read"):
        dataset("image_files", str(heap))[row]


@pytest.mark.parametrize("workers", [0, 2])
def test_skipping_delivers_the_next_one_with_its_own_index_and_counts(
    heap: Any, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    samples = indexed("image_files", str(heap), on_error="skip")
    loader = DataLoader(samples, batch_size=6, num_workers=workers)
    (batch,) = loader
    if not workers:  # those log in their own process
        assert "skipped (1 so far): 1.png cannot be read" in caplog.text
    assert batch["index"].tolist() == [0, 3, 3, 3, 4, 5]
    assert batch["image"][:, 0, 0, 0].tolist() == [0, 3, 3, 3, 4, 5]
    assert samples.skipped == ["1.png", "2.png"]


def test_a_skipped_image_does_not_lend_its_label(heap: Any) -> None:
    table = heap / "table.csv"
    rows = "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(6))
    table.write_text("path,label\n" + rows)
    samples = dataset("csv", str(table), on_error="skip")
    sample = samples[2]
    assert (sample["index"], sample["target"]) == (3, 1)


def test_nothing_readable_is_an_error_even_when_skipping(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    samples = dataset("image_files", str(tmp_path), on_error="skip")
    with pytest.raises(OSError, match="none of the 1"):
        samples[0]


def test_pairs_images_and_mappings_become_fields() -> None:
    class Pairs(TensorDataset):
        classes, targets = ("x", "y"), (1, 0, 1)

    samples: Any = as_samples(Pairs(torch.zeros(3, 1, 2, 2), torch.tensor([1, 0, 1])))
    assert (samples.classes, samples.targets.tolist()) == (["x", "y"], [1, 0, 1])
    assert {k: v for k, v in samples[2].items() if k != "image"} == {"target": 1, "index": 2}

    alone = as_samples([torch.zeros(1), torch.ones(1)])
    assert set(alone[1]) == {"image", "index"}
    paired = as_samples([{"image": 1, "text": "a cat"}])
    assert paired[0] == {"image": 1, "text": "a cat", "index": 0}


def test_a_registered_kind_gets_its_keys_and_the_label_budget() -> None:
    @register_dataset
    def blobs(root: Path, subset: Any = None, image_transform: Any = None, size: int = 4) -> Any:
        class Blobs(list[Any]):
            targets = np.arange(20) % 4

        return Blobs((torch.full((1, size, size), float(i)), i % 4) for i in range(20))

    samples = indexed("blobs", size=3, labels_per_class=2, part="labelled")
    assert np.bincount(samples.targets).tolist() == [2, 2, 2, 2]
    assert samples[0]["image"].shape == (1, 3, 3)
    with pytest.raises(ConfigError, match="takes no such key; did you mean 'size'"):
        dataset("blobs", sise=3)
    # A config that changes the kind takes keys of the other one back.
    assert len(indexed("blobs", size=3, download=None)) == 20
    register_dataset("other")(blobs)
    assert len(indexed("other")) == 20


def blanks(root: Path, subset: Any = None, image_transform: Any = None, count: int = 2) -> Any:
    return [(torch.zeros(1), 0)] * count


def test_the_path_of_a_builder_is_a_kind_too() -> None:
    assert len(indexed(f"{__name__}.blanks", count=5)) == 5
    with pytest.raises(ConfigError, match="takes no such key; did you mean 'count'"):
        dataset(f"{__name__}.blanks", cuont=5)
    with pytest.raises(ConfigError, match=r"name: found .*blankets.*cannot be imported"):
        dataset(f"{__name__}.blankets")
    with pytest.raises(ConfigError, match="cannot be imported"):
        dataset("nowhere.blanks")


def test_an_unknown_kind_proposes_near_ones() -> None:
    with pytest.raises(ConfigError, match="did you mean 'cifar10'") as caught:
        dataset("cifar_10")
    assert caught.value.problems[0].key == "name"


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([(torch.tensor([float(i)]), i) for i in range(10)])


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("world_size", [1, 2])
def test_a_stream_is_shared_out_over_processes_and_workers(workers: int, world_size: int) -> None:
    seen = []
    for rank in range(world_size):
        streamed = as_samples(Stream())
        assert isinstance(streamed, StreamedSamples)
        streamed.rank, streamed.world_size = rank, world_size
        for batch in DataLoader(streamed, batch_size=2, num_workers=workers):
            seen += batch["index"].tolist()
            assert batch["target"].tolist() == batch["index"].tolist()
    assert sorted(seen) == list(range(10))


@pytest.mark.parametrize("kind", [Stream, lambda: list(Stream())])
def test_labels_that_come_with_samples_must_be_classes(kind: Any) -> None:
    source = as_samples(kind())
    source.num_classes = 5
    read = iter(source) if kind is Stream else (source[row] for row in range(10))
    assert [next(read)["target"] for _ in range(5)] == list(range(5))
    with pytest.raises(UnreadableSampleError, match=r"5.*its target is 5; needs a class below 5"):
        next(read)


@pytest.mark.parametrize(
    ("sample", "message"),
    [({}, "no target"), ({"target": -2}, "is -2"), ({"target": torch.tensor(3)}, "is 3")],
)
def test_targets_that_are_no_classes(sample: Any, message: str) -> None:
    check_target(sample, None)
    for sound in (-1, 0, torch.tensor(2), np.int64(2), torch.tensor([0.1, 0.5, 0.4])):
        check_target({"target": sound}, 3)
    with pytest.raises(ValueError, match=message):
        check_target(sample, 3)


def test_a_stream_cannot_be_split() -> None:
    register_dataset("stream")(lambda root, subset, image_transform: Stream())
    with pytest.raises(ConfigError, match="streamed"):
        dataset("stream", labels_per_class=1)
    assert isinstance(dataset("stream", part="all"), StreamedSamples)


def test_samples_can_be_sent_to_another_process() -> None:
    samples = dataset("digits", subset="train", labels_per_class=1, part="labelled")
    copied = pickle.loads(pickle.dumps(samples))
    assert torch.equal(copied[3]["image"], samples[3]["image"])


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (2, 3, 3)])
def test_arrays_become_channels_first(shape: tuple[Any, ...]) -> None:
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    tensor = to_uint8(array)
    assert tensor.shape == (shape[2] if len(shape) == 3 else 1, 2, 3)
    assert tensor[0].tolist() == (array[..., 0] if array.ndim == 3 else array).tolist()


def test_select_keeps_the_positions_of_the_whole() -> None:
    samples = Samples(lambda i: {"image": i}, list("abcd"), np.array([3, 2, 1, 0]))
    chosen = samples.select(np.array([3, 1])).select(np.array([1]))
    assert (chosen[0], chosen.row_ids()) == ({"image": 1, "target": 2, "index": 1}, ["b"])


def test_an_error_of_a_worker_has_the_message_raised_there() -> None:
    error = UnreadableSampleError(
        "Caught UnreadableSampleError in DataLoader worker process 0.\nTraceback ...\n"
        "sesemi_like.errors.UnreadableSampleError: cat/a.jpg cannot be read: it is empty\n"
    )
    assert str(error) == "cat/a.jpg cannot be read: it is empty"
