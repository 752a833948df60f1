"""The data module: fields and views of a step, evaluation data, and mistakes reported together."""

import csv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from composing import composed
from PIL import Image
from readers import indexed

from sesemi_like.data import DataModule, registry
from sesemi_like.data.cache import plan as cached
from sesemi_like.data.cache.reader import CachedReader
from sesemi_like.data.checks.facts import resuming_facts
from sesemi_like.data.convert import write_shards
from sesemi_like.data.counts import sample_counts
from sesemi_like.data.loading.keys import display_name
from sesemi_like.data.loading.samplers import PassSampler, RepeatedShard, RowBatches
from sesemi_like.data.streams import StreamedSamples
from sesemi_like.errors import ConfigError, UnreadableSampleError

DIGITS = ("quickstart", "data.train.supervised.repeat=1", "data.train.unlabeled.repeat=1")


def module(
    *overrides: str,
    name: str | tuple[str, ...] = DIGITS,
    world_size: int = 1,
    seed: int = 0,
    **settings: Any,
) -> DataModule:
    config = composed(*(name if isinstance(name, tuple) else (name,)), *overrides)
    return DataModule(config.data, config.run, world_size=world_size, seed=seed, **settings)


def problems(*overrides: str, **settings: Any) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        module(*overrides, **settings)
    return {p.key: f"{p.value}: {p.expected}" for p in caught.value.problems}


def workers_of(data: DataModule) -> dict[str, int]:
    return {name: loader.workers for name, loader in data.loaders.items()}


class Training:
    """As much of a Trainer as the data module looks at."""

    training = True
    testing = predicting = False
    global_rank = 0
    current_epoch = 0

    def __init__(self, number: int = 0, global_rank: int = 0) -> None:
        self.fit_loop = SimpleNamespace(total_batch_idx=number - 1)
        self.global_rank = global_rank


def training(number: int = 0, rank: int = 0) -> Any:
    return Training(number, rank)


def step(data: DataModule, number: int = 0, rank: int = 0) -> Any:
    data.trainer = training(number, rank)
    return data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)


def test_a_step_is_flat_and_has_each_loaders_fields_and_views() -> None:
    batch = step(module())
    views = {"weak", "weak_2", "medium", "strong", "strong_2", "rotation.image", "rotation.target",
             "jigsaw.image", "jigsaw.target"}  # fmt: skip
    plain = {"image", "target", "index"}
    assert set(batch) == {f"supervised.{f}" for f in plain | {"strong"}} | {
        f"unlabeled.{f}" for f in plain | views
    }
    assert batch["supervised.image"].shape == (32, 1, 8, 8)
    assert batch["unlabeled.strong"].shape == (224, 1, 8, 8)
    assert 0 <= batch["unlabeled.strong"].min() <= batch["unlabeled.strong"].max() <= 1


def test_the_fields_it_promises_are_those_of_a_step() -> None:
    data = module()
    names = {name for loader, fields in data.fields.items() for name in
             (f"{loader}.{field}" for field in fields)}  # fmt: skip
    assert names == set(step(data))


def test_only_views_that_are_kept_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    data = module()
    data.keep({"supervised.image", "unlabeled.rotation.target"})
    computed = []
    views = data.loaders["train.unlabeled"].views.views
    for name, view in views.items():

        def note(*arguments: Any, name: str = name, view: Any = view) -> Any:
            computed.append(name)
            return view(*arguments)

        views[name] = note
    rows = {"supervised.index", "unlabeled.index"}  # so that a batch that fails can be named
    assert set(step(data)) == {"supervised.image", "unlabeled.rotation.target"} | rows
    assert computed == ["rotation"]


def test_views_depend_on_seed_step_process_and_name_alone() -> None:
    batch = next(iter(module().train_dataloader()))

    def views(number: int = 0, rank: int = 0, seed: int = 0, world_size: int = 1) -> Any:
        data: Any = module(seed=seed, world_size=world_size)
        data.trainer = Training(number, rank)
        return data.on_after_batch_transfer(batch, 0)

    first = views()
    assert all(torch.equal(first[k], v) for k, v in views().items())
    for other in (views(number=1), views(rank=1, world_size=2), views(seed=1)):
        assert not torch.equal(first["unlabeled.weak"], other["unlabeled.weak"])
        assert torch.equal(first["unlabeled.image"], other["unlabeled.image"])
    assert not torch.equal(first["unlabeled.weak"], first["unlabeled.weak_2"])


def test_two_processes_make_the_views_of_one() -> None:
    sizes = "data.train.supervised.batch_size=8", "data.train.unlabeled.batch_size=64"
    per_process = [
        f"data.train.{name}.batch_size_per_gpu=null" for name in ("supervised", "unlabeled")
    ]
    whole = step(module(*sizes, *per_process), number=3)
    for rank in range(2):
        own = step(module(*sizes, *per_process, world_size=2), number=3, rank=rank)
        for field, value in own.items():
            turns = 4 if "rotation" in field else 1
            rows = whole[field].unflatten(0, (-1, turns))[rank::2].flatten(0, 1)
            torch.testing.assert_close(value, rows, msg=field)


def test_bytes_become_fractions_and_floats_stay() -> None:
    data = module()
    data.trainer = training()
    raw = next(iter(data.train_dataloader()))
    batch = data.on_after_batch_transfer(raw, 0)
    assert raw["unlabeled"]["image"].dtype == torch.uint8
    expected = raw["unlabeled"]["image"].numpy() / np.float32(255)
    np.testing.assert_allclose(batch["unlabeled.image"], expected, rtol=1e-6)


@pytest.mark.parametrize(("name", "size"), [("val", 320), ("test", 360)])
def test_a_train_loader_may_be_called_as_an_evaluation_split(
    name: str, size: int, tmp_path: Path
) -> None:
    digits = "{dataset: {name: digits, subset: %s}, batch_size: 8}"
    (tmp_path / "own.yaml").write_text(
        "defaults: [quickstart, _self_]\n"
        f"data: {{{name}: {digits % 'test'}, train: {{{name}: {digits % 'train'}}}}}\n"
    )
    config = composed("own", folder=tmp_path)
    data = DataModule(config.data, config.run, world_size=1, seed=0)
    loaders = {"val": data.val_dataloader, "test": data.test_dataloader}
    loader: Any = loaders[name]()
    assert len(loader.dataset) == size
    batch = step(data)
    assert set(data.fields) == {"supervised", "unlabeled", name}
    assert len(batch[f"{name}.image"]) == 8
    assert data.iterations_per_epoch == 180
    assert display_name("train.supervised", data.loaders) == "supervised"
    assert display_name(f"train.{name}", data.loaders) == f"train.{name}"
    sizes = sample_counts(data.datasets)
    assert sizes | {name: size, f"train.{name}": 1437} == sizes


def test_validation_batches_have_the_views_of_val() -> None:
    data = module()
    data.trainer = training()
    data.trainer.training = False
    (batch, *_) = list(data.val_dataloader())
    fields = data.on_after_batch_transfer(batch, 0)
    assert set(fields) == {"image", "target", "index"}
    np.testing.assert_allclose(fields["image"], batch["image"] / 255, rtol=1e-6)


def test_evaluation_loader_reads_each_sample_once_in_order_without_augmentation() -> None:
    data = module()
    batches = list(data.evaluation_loader("supervised"))
    index = torch.cat([b["index"] for b in batches]).tolist()
    samples: Any = data.datasets["train.supervised"]
    assert index == samples.positions.tolist()
    assert torch.equal(batches[0]["image"][3], samples[3]["image"] / 255)
    with pytest.raises(KeyError):
        next(data.evaluation_loader("nothing"))


def test_iterations_per_epoch_by_hand() -> None:
    # 1,437 digits, 224 a step, the last 93 left out: 6; forty labels, 32 a step: 2.
    assert module().iterations_per_epoch == 6
    assert module("data.train.unlabeled.drop_last=false").iterations_per_epoch == 7
    assert module("data.train.unlabeled=null").iterations_per_epoch == 2
    # Two processes: 719 each, floor(719 / 224).
    assert module(world_size=2).iterations_per_epoch == 3
    assert module("data.train.unlabeled.repeat=7").iterations_per_epoch == 44


def test_null_switches_a_loader_off() -> None:
    data = module("data.train.unlabeled.dataset=null", "data.test=null")
    assert set(data.datasets) == {"train.supervised", "val"}
    assert data.test_dataloader() == []


def test_only_the_splits_that_are_requested_are_loaded() -> None:
    assert set(module(splits=("val",)).datasets) == {"val"}
    assert set(module(splits=("test",)).datasets) == {"test"}


def test_the_mistakes_of_all_loaders_are_reported_together() -> None:
    reported = problems(
        "data.train.supervised.dataset.subset=trian",
        "data.train.unlabeled.batch_size_per_gpu=2000",
        "data.val.dataset.name=digit",
        "data.test.dataset.subset=tset",
    )
    assert set(reported) == {
        "data.train.supervised.dataset.subset",
        "data.train.unlabeled.drop_last",
        "data.val.dataset.name",
        "data.test.dataset.subset",
    }
    assert "did you mean 'digits'" in reported["data.val.dataset.name"]


def test_wrong_views_are_reported_before_training() -> None:
    views = "data.train.unlabeled.views"
    reported = problems(f"{views}.strong.steps.2._target_=sesemi_like.views.Cutuot")
    assert set(reported) == {f"{views}.strong.steps.2._target_"}
    assert "did you mean 'Cutout'" in reported[f"{views}.strong.steps.2._target_"]
    for_three = "{_target_: sesemi_like.views.Normalize, mean: [0, 0, 0], std: [1, 1, 1]}"
    (problem,) = problems(f"+{views}.third={for_three}").items()
    assert problem[0] == "data.train.unlabeled"
    assert "first samples cannot be made a batch" in problem[1]
    assert "for images with 1 channels" in problem[1]


@pytest.fixture
def pets(tmp_path: Path) -> Callable[..., Any]:
    def make(**folders: Any) -> Any:
        for folder, count in folders.items():
            path = tmp_path / folder.replace("_", "/")
            path.mkdir(parents=True)
            for number in range(count):
                shade = (40 * number % 256,) * 3
                Image.new("RGB", (48, 40), shade).save(path / f"{number}.png")
        return tmp_path

    return make


FOLDERS = ("imagewang", "data=image_folder", "data.image_size=32",
           "data.train.supervised.num_workers=0", "data.train.unlabeled.num_workers=0",
           "data.train.unlabeled.batch_size_per_gpu=2", "data.val.num_workers=0")  # fmt: skip


def test_classes_of_evaluation_must_be_those_of_training(pets: Callable[..., Any]) -> None:
    root = pets(train_cat=3, train_dog=3, val_cat=2, val_dgo=2)
    reported = problems(f"run.data_root={root}", name=FOLDERS)
    assert set(reported) == {"data.val.dataset"}
    assert "only here: dgo; missing: dog" in reported["data.val.dataset"]


READ = {"supervised": {"image", "target"}, "unlabeled": {"weak", "strong"}}


def test_labels_are_spread_as_evenly_as_they_can_be(
    pets: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    root = pets(train_cat=13, train_dog=7, train_eel=20, val_cat=2, val_dog=2, val_eel=2)
    data = module(f"run.data_root={root}", "data.num_labels=30", name=FOLDERS, read=READ)
    assert data.labels.counts() == {"supervised": {"cat": 12, "dog": 7, "eel": 11}}
    (warning,) = caplog.messages
    assert warning.startswith("data.train.supervised.dataset: num_labels: 30 are spread unevenly")
    assert "from 7 (dog, which has no more) to 12 a class" in warning
    caplog.clear()
    module(f"run.data_root={root}", "data.num_labels=20", name=FOLDERS, read=READ)
    assert caplog.messages == []


def test_images_that_come_twice_are_named(
    pets: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    root = pets(train_cat=3, train_dog=3, val_cat=2, val_dog=2)
    settings = (f"run.data_root={root}", "data.train.unlabeled.dataset.subset=[train,train]")
    module(*settings, name=FOLDERS, read=READ)
    (warning,) = caplog.messages
    assert warning.startswith("data.train.unlabeled.dataset: 6 of its samples occur more than")
    caplog.clear()
    table = root / "all.csv"
    rows = [f"{path.relative_to(root)},{path.parent.name}" for path in root.glob("*/*/*.png")]
    table.write_text("\n".join(["path,label", *rows]))
    listed = ("data.val.dataset.name=csv", "data.val.dataset.subset=null")
    module(*settings[:1], *listed, "++data.val.dataset.root=all.csv", name=FOLDERS, read=READ)
    (warning,) = caplog.messages
    assert warning.startswith(
        "data.val.dataset and data.train.supervised.dataset: 6 of its 10 images"
    )


def test_classes_without_a_label_are_named(
    pets: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    root = pets(train_cat=3, train_dog=3, train_eel=3, val_cat=1, val_dog=1, val_eel=1)
    module(f"run.data_root={root}", "data.num_labels=2", name=FOLDERS, read=READ)
    (warning,) = caplog.messages
    assert warning == "data.train.supervised.dataset: no label for 1 of 3 classes: eel"
    caplog.clear()
    module("data.labels_per_class=null", "data.num_labels=8", read=READ)  # digits have numbers
    assert caplog.messages == ["data.train.supervised.dataset: no label for 2 of 10 classes: 8, 9"]


@pytest.fixture
def streamed(pets: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Shards of cats and eels, to train on, beside folders of images to evaluate."""

    def make(*kinds: Any) -> tuple[str, str, str, str, str, str]:
        root = pets(**{f"train_{kind}": 3 for kind in kinds}, val_cat=2, val_dog=2)
        write_shards(indexed("image_folder", str(root), "train"), tmp_path / "shards")
        stream = "++data.train.supervised.dataset"
        return (
            f"run.data_root={root}",
            f"{stream}.name=shards",
            f"{stream}.subset=null",
            f"{stream}.root={tmp_path / 'shards'}",
            "run.batch_size_per_gpu=2",
            "data.train.rotation_prediction=null",
        )

    return make


def test_classes_of_streams_must_be_those_of_evaluation(streamed: Callable[..., Any]) -> None:
    reported = problems(*streamed("cat", "eel"), name="base")
    assert set(reported) == {"data.val.dataset"}
    assert "only here: dog; missing: eel" in reported["data.val.dataset"]


def test_what_a_resumed_run_must_share_of_streams_is_noted(streamed: Callable[..., Any]) -> None:
    data = module(*streamed("cat", "dog"), name="base")
    facts = resuming_facts(data)
    assert facts["workers of data.train.supervised"] == data.loaders["train.supervised"].workers
    assert facts["streams"] == []  # shards go on where they stopped
    assert not any("rotation" in name for name in facts if name.startswith("workers"))
    data.loaders["train.supervised"].dataset = StreamedSamples(range(3))
    assert resuming_facts(data)["streams"] == ["data.train.supervised"]


def test_classes_of_streams_are_counted(streamed: Callable[..., Any]) -> None:
    data = module(*streamed("cat", "dog"), name="base")
    assert data.labels.classes == ["cat", "dog"]
    assert data.labels.num_classes == 2
    data.labels.expect_classes(1)
    with pytest.raises(UnreadableSampleError, match="its target is 1; needs a class below 1"):
        list(data.train_dataloader())


def just_images(samples: Any) -> Any:
    return {"image": torch.stack([sample["image"] for sample in samples])}


def test_what_is_evaluated_needs_an_index_and_no_target(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [torch.zeros(1, 8, 8)] * 3
    monkeypatch.setitem(registry.BUILDERS, "bare", lambda *_, **__: images)
    data = module("data.test.dataset={name: bare}")
    assert set(data.loaders["test"].sample_batch) == {"image", "index"}
    collation = f"{{_target_: {__name__}.just_images, _partial_: true}}"
    reported = problems("data.test.dataset={name: bare}", f"+data.test.collate_fn={collation}")
    assert reported == {
        "data.test": "['image']: its batches have no index, by which rows that are evaluated twice "
        "are known"
    }


def test_folders_of_the_heap_are_no_classes(pets: Callable[..., Any]) -> None:
    root = pets(train_cat=3, train_dog=3, val_cat=2, val_dog=2, heap_2023=4)
    subsets = "data.train.unlabeled.dataset.subset=[heap,train]"
    data = module(f"run.data_root={root}", subsets, name=FOLDERS)
    assert data.datasets["train.unlabeled"].classes == ["2023", "cat", "dog"]
    assert data.labels.classes == ["cat", "dog"]
    assert data.labels.num_classes == 2


def test_images_of_different_sizes_come_as_one_size(pets: Callable[..., Any]) -> None:
    root = pets(train_cat=3, train_dog=3, val_cat=2, val_dog=2)
    Image.new("RGB", (70, 50)).save(root / "train" / "cat" / "z.png")
    data = module(f"run.data_root={root}", "data.labels_per_class=1", name=FOLDERS)
    assert data.labels.classes == ["cat", "dog"]
    counts = {name: samples.num_samples for name, samples in data.datasets.items()}
    assert (counts["train.supervised"], counts["train.unlabeled"]) == (2, 7)
    assert step(data)["unlabeled.strong"].shape == (2, 3, 32, 32)


def refuses(image: Any) -> None:
    raise ZeroDivisionError("no such size")


class Crooked(list[int]):
    def __getitem__(self, row: Any) -> Any:
        raise ZeroDivisionError("no such row")


@pytest.mark.parametrize("cache", ["auto", "none", "ram"])
def test_a_transform_that_fails_is_reported_with_its_key(
    pets: Callable[..., Any], cache: str
) -> None:
    root = pets(train_cat=3, train_dog=3, val_cat=2, val_dog=2)
    key = "data.val.dataset.image_transform"
    settings = (f"run.data_root={root}", f"++data.val.dataset.cache={cache}")
    reported = problems(*settings, f"{key}.transforms.0.size=0", name=FOLDERS)
    assert "its image_transform failed: " in reported[key]
    refusing = f"[{{_target_: {__name__}.refuses, _partial_: true}}]"
    reported = problems(*settings, f"{key}.transforms={refusing}", name=FOLDERS)
    assert "image_transform failed: ZeroDivisionError: no such size" in reported[key]


def test_a_data_set_that_fails_is_reported_with_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BUILDERS, "crooked", lambda *_, **__: Crooked([1, 2]))
    reported = problems("data.test.dataset={name: crooked}", "data.test.dataset.subset=null")
    expected = "crooked: its first samples cannot be read: ZeroDivisionError: no such row"
    assert reported == {"data.test.dataset": expected}


def test_num_classes_found_counts_names_and_labels(pets: Callable[..., Any]) -> None:
    root = pets(train_cat=1, train_dog=1, train_eel=1, val_cat=1, val_dog=1, val_eel=1)
    data = module(f"run.data_root={root}", name=FOLDERS)
    assert data.labels.num_classes == 3
    assert module().labels.num_classes == 10


def test_the_label_list_names_which_labels_are_used(tmp_path: Path) -> None:
    data = module("data.labels_per_class=1")
    data.labels.write_list(tmp_path / "labels.csv")
    with (tmp_path / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    both = {name: {row["index"]: row for row in rows if row["loader"] == name} for name in
            ("supervised", "unlabeled")}  # fmt: skip
    assert len(both["supervised"]) == 10
    assert sorted(row["class"] for row in both["supervised"].values()) == list("0123456789")
    # The heap holds the same ten among its rows, and no other label.
    assert set(both["unlabeled"]) == set(both["supervised"])


def test_loaders_that_nothing_reads_are_not_loaded(caplog: pytest.LogCaptureFixture) -> None:
    missing = "data.train.unlabeled.dataset.subset=nothing"
    with caplog.at_level("INFO"):
        data = module(missing, read={"supervised": {"image", "target"}})
    assert set(data.datasets) == {"train.supervised", "val", "test"}
    assert data.iterations_per_epoch == 2
    assert set(sample_counts(data.datasets)) == {"supervised", "val", "test"}
    assert "data.train.unlabeled is not loaded: no loss head or evaluator reads it" in caplog.text


def test_train_loaders_that_evaluators_read_are_loaded_with_any_split() -> None:
    data = module(splits=("test",), read={"supervised": ()})
    assert set(data.datasets) == {"train.supervised", "test"}


def test_loaders_that_evaluators_alone_read_take_no_part_in_training() -> None:
    data = module(read={"supervised": {"image", "target"}, "unlabeled": set()})
    assert set(data.datasets) == {"train.supervised", "train.unlabeled", "val", "test"}
    assert data.iterations_per_epoch == 2
    assert set(data.fields) == set(data.labels.counts()) == {"supervised"}
    assert set(next(iter(data.train_dataloader()))) == {"supervised"}
    assert len(next(data.evaluation_loader("unlabeled"))["index"]) == 512


def test_labels_that_are_not_trained_on_are_not_listed(
    pets: Callable[..., Any], tmp_path: Path
) -> None:
    root = pets(train_cat=3, train_dog=3, val_cat=2, val_dog=2)
    read = {"supervised": {"image", "target"}, "rotation_prediction": {"image", "target"}}
    settings = (f"run.data_root={root}", "run.batch_size_per_gpu=2")
    data = module(*settings, name="base", read=read)
    assert data.labels.counts() == {"supervised": {"cat": 3, "dog": 3}}
    data.labels.write_list(tmp_path / "labels.csv")
    with (tmp_path / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["loader"] for row in rows} == {"supervised"}
    assert {row["id"].split("/")[0] for row in rows} == {"train"}
    # Drawing by class uses labels as well.
    balance = "data.train.rotation_prediction.sampler=class_balanced"
    balanced = module(*settings, balance, name="base", read=read)
    assert balanced.trained == ["supervised", "rotation_prediction"]


def test_real_images_through_the_whole_chain(cifar10_images: Path) -> None:
    data = module(f"run.data_root={cifar10_images}", "data.labels_per_class=4",
                  "data.train.unlabeled.batch_size_per_gpu=32", name=FOLDERS)  # fmt: skip
    assert len(data.labels.classes) == 10
    batch = step(data)
    weak, strong = batch["unlabeled.weak"], batch["unlabeled.strong"]
    assert weak.shape == strong.shape == (32, 3, 32, 32)
    # Normalized with ImageNet's statistics: about zero mean and unit deviation over real images.
    assert weak.mean().abs() < 0.7
    assert 0.5 < weak.std() < 1.6
    assert not torch.equal(weak, strong)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of 40 x 40 pixels in two classes, for training and validation."""
    for number in range(24):
        kind = ("train" if number < 16 else "val", "ab"[number % 2])
        path = tmp_path / "images" / kind[0] / kind[1] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (10 * number, 0, 0)).save(path)
    return tmp_path


def of_folder(folder: Path, *overrides: str) -> Any:
    settings = ("data=image_folder", f"run.data_root={folder / 'images'}", "data.image_size=32",
             f"run.cache_dir={folder / 'cache'}", "run.gpus=0")  # fmt: skip
    batches = [f"data.train.{n}.batch_size_per_gpu=4" for n in ("supervised", "unlabeled")]
    return module(*settings, *batches, *overrides, name="imagewang")


def test_images_are_decoded_when_all_else_is_right(folder: Path) -> None:
    data = of_folder(folder)
    assert not (folder / "cache").exists()
    assert workers_of(data) == {"train.supervised": 0, "train.unlabeled": 0, "val": 0}
    before = data.datasets["train.unlabeled"]
    data.decode()
    assert (folder / "cache").exists()
    samples = data.datasets["train.unlabeled"]
    assert isinstance(samples.read, CachedReader)
    assert all(torch.equal(samples[row]["image"], before[row]["image"]) for row in range(16))


def test_workers_decode_what_no_place_was_found_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "cache").write_text("no folder")
    data = of_folder(folder)
    monkeypatch.setattr(cached, "free_memory", lambda: 0)
    data.decode()
    assert not isinstance(data.datasets["train.unlabeled"].read, CachedReader)
    assert min(workers_of(data).values()) >= 1


def test_a_cache_that_cannot_be_kept_is_reported_with_its_key(folder: Path) -> None:
    (folder / "cache").write_text("no folder")
    data = of_folder(folder, "++data.train.unlabeled.dataset.cache=disk")
    with pytest.raises(ConfigError, match=r"data\.train\.unlabeled\.dataset\.cache: found 'disk'"):
        data.decode()


def test_a_cache_beyond_the_limit_is_reported_with_its_key(folder: Path) -> None:
    settings = ("++data.train.unlabeled.dataset.cache=disk", "run.cache_limit=1 kB")
    found = r"dataset\.cache: found 'disk'.* give a run\.cache_limit of more than 1\.0 kB"
    with pytest.raises(ConfigError, match=found):
        of_folder(folder, *settings)
    of_folder(folder, settings[0], "run.cache_limit=1 GB").decode()
    assert list(folder.glob("cache/*/pixels.bin"))


FURTHER = (
    "data.evaluation={ood: {dataset: {name: digits, subset: test}, batch_size: 90}}",
    "data.predict={dataset: {name: digits, subset: train}, batch_size: 200}",
)


def test_loaders_of_evaluation_are_loaded_where_they_are_read() -> None:
    splits: Any = {"splits": ("val", "evaluation")}
    assert set(module(*FURTHER, **splits, read={}).datasets) == {"val"}
    data = module(*FURTHER, **splits, read={"ood": ()})
    assert set(data.datasets) == {"val", "evaluation.ood"}
    assert sample_counts(data.datasets)["ood"] == 360
    assert set(module(*FURTHER, splits=("test",), read={"ood": ()}).datasets) == {"test"}


def test_processes_share_a_loader_of_evaluation() -> None:
    data = module(*FURTHER, read={"ood": (), "supervised": ()})
    for name in ("ood", "supervised"):
        whole = torch.cat([b["index"] for b in data.evaluation_loader(name)])
        shares = [
            torch.cat([b["index"] for b in data.evaluation_loader(name, rank, 3)])
            for rank in range(3)
        ]
        assert len({len(share) for share in shares}) == 1
        assert sorted(set(torch.cat(shares).tolist())) == whole.tolist()


def test_what_is_predicted_comes_in_order_with_the_views_of_its_loader() -> None:
    view = "+data.predict.views={image: {_target_: sesemi_like.views.Normalize, mean: 0, std: 0.5}}"
    data: Any = module(*FURTHER, view, splits=("predict",))
    assert set(data.datasets) == {"predict"}
    assert data.predict_dataloader() == []  # before it is settled which batches this process has
    rows = RepeatedShard(PassSampler(len(data.datasets["predict"])))
    data.predicted_batches = lambda: RowBatches(rows, batch_size=200)
    (batch, *_) = list(data.predict_dataloader())
    assert batch["index"].tolist() == list(range(200))
    data.trainer = training()
    data.trainer.training, data.trainer.predicting = False, True
    images = data.on_after_batch_transfer(batch, 0)["image"]
    np.testing.assert_allclose(images, batch["image"] / 255 / 0.5, rtol=1e-6)
