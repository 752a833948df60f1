"""Killed, shared out or torn: predictions end as the same bytes, and never look whole before."""

import csv
import multiprocessing
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from composing import composed
from PIL import Image
from processes import in_processes
from tiny_runs import fit

from sesemi_like.config.check import check
from sesemi_like.data.row_choice import choose_rows
from sesemi_like.data.samples import Samples
from sesemi_like.errors import ConfigError
from sesemi_like.learners.predicted import Labelled
from sesemi_like.locks import Claim
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES
from sesemi_like.run.predictions.formats import FORMATS, Part
from sesemi_like.run.predictions.store import PartStore

PREDICT = [
    "run.mode=PREDICT", "run.gpus=0", "learner.hparams.model.backbone.widths=[4,8]",
    "++data.predict.dataset.name=digits", "++data.predict.dataset.subset=train",
    "++data.predict.batch_size_per_gpu=32", "++data.predict.num_workers=0",
    "run.predict.rows_per_part=64", "run.seed=1",
]  # fmt: skip


class DieAt(pl.Callback):
    """Kills its process after a number of predicted batches."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def on_predict_batch_end(self, *arguments: Any, **_: Any) -> None:
        if arguments[4] == self.batches:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, _ = fit(tmp_path_factory.mktemp("trained"), "run.num_iterations=2")
    return folder / "checkpoints" / "last.ckpt"


def predict(folder: Path, checkpoint: Path, *overrides: str) -> None:
    given = [f"run.dir={folder}", f"run.pretrained_checkpoint_path={checkpoint}"]
    config = composed("quickstart", *PREDICT, *given, *overrides)
    run(config, check(config, MODES))


def predict_and_die(folder: Path, checkpoint: Path, *overrides: str, batches: int) -> None:
    """Predicts in a process of its own, which is killed."""
    callback = f"{{_target_: {__name__}.DieAt, batches: {batches}}}"
    process = multiprocessing.get_context("forkserver").Process(
        target=predict,
        args=(folder, checkpoint, *overrides, f"++trainer.callbacks.dying={callback}"),
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def written(folder: Path) -> dict[str, bytes]:
    """The content of all files of predictions below a folder, by name."""
    found = [path for path in folder.glob("*/*/predictions*")]
    files = [file for path in found for file in (path.iterdir() if path.is_dir() else [path])]
    assert len(found) == 1
    return {file.name: file.read_bytes() for file in files}


def parts(folder: Path) -> dict[Path, int]:
    """The parts that lie below a folder, with the times at which they were written."""
    return {p: p.stat().st_mtime_ns for p in sorted(folder.glob("*/.predictions-*/part-*"))}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_a_run_killed_twice_writes_the_same_bytes(
    form: str, checkpoint: Path, tmp_path: Path
) -> None:
    chosen = [f"run.predict.format={form}"]
    predict(tmp_path / "whole", checkpoint, *chosen)
    killed = tmp_path / "killed"
    predict_and_die(killed, checkpoint, *chosen, batches=12)
    kept = parts(killed)
    assert len(kept) == 6  # of two batches each
    assert not list(killed.glob("*/*/predictions*"))
    predict_and_die(killed, checkpoint, *chosen, batches=9)
    assert {path: time for path, time in parts(killed).items() if path in kept} == kept
    assert len(parts(killed)) == 6 + 4
    predict(killed, checkpoint, *chosen)
    assert written(killed) == written(tmp_path / "whole")
    assert not list(killed.glob("*/.predictions*"))


@pytest.mark.slow
def test_other_weights_rows_or_settings_share_no_parts(checkpoint: Path, tmp_path: Path) -> None:
    predict_and_die(tmp_path, checkpoint, batches=5)
    kept = parts(tmp_path)
    fewer = "++data.predict.dataset.num_rows=100"
    for override in (fewer, "run.predict.outputs=[model.logits]", "learner.hparams.model.ema=null"):
        (tmp_path / "other").mkdir(exist_ok=True)
        predict(tmp_path, checkpoint, override)
        assert parts(tmp_path) == kept, override
    rows = [len(list(csv.reader(path.open()))) - 1 for path in tmp_path.glob("*/*/predictions.csv")]
    assert sorted(rows) == [100, 1437, 1437]


@pytest.mark.slow
def test_torn_parts_are_predicted_again(checkpoint: Path, tmp_path: Path) -> None:
    predict(tmp_path / "whole", checkpoint)
    killed = tmp_path / "killed"
    predict_and_die(killed, checkpoint, batches=11)
    torn = list(parts(killed))
    content = torn[1].read_bytes()
    torn[1].write_bytes(content[: len(content) // 2])
    torn[3].write_bytes(bytes(len(torn[3].read_bytes())))
    predict(killed, checkpoint)
    assert written(killed) == written(tmp_path / "whole")


def predict_in_processes(
    rank: int, folder: Path, checkpoint: Path, overrides: Iterable[str]
) -> None:
    two = ["++trainer.accelerator=cpu", "++trainer.devices=2", *overrides]
    predict(folder, checkpoint, *two)


@pytest.mark.slow
def test_several_processes_write_the_same_bytes(checkpoint: Path, tmp_path: Path) -> None:
    predict(tmp_path / "one", checkpoint)
    in_processes(predict_in_processes, tmp_path / "two", checkpoint, [])
    assert written(tmp_path / "two") == written(tmp_path / "one")
    predict_and_die(tmp_path / "both", checkpoint, batches=12)
    in_processes(predict_in_processes, tmp_path / "both", checkpoint, [])
    assert written(tmp_path / "both") == written(tmp_path / "one")


@pytest.mark.slow
def test_random_views_and_transforms_draw_the_same_for_each_row(
    checkpoint: Path, tmp_path: Path
) -> None:
    """Whatever the seed of the run and the number of processes."""
    random = [
        "++data.predict.views.image={_target_: sesemi_like.views.RandomCrop, padding: 2}",
        "++data.predict.dataset.image_transform._target_=torchvision.transforms.v2.Compose",
        "++data.predict.dataset.image_transform.transforms=["
        "{_target_: torchvision.transforms.v2.PILToTensor},"
        "{_target_: torchvision.transforms.v2.RandomErasing, p: 1.0}]",
        "++data.predict.dataset.num_rows=300",
    ]
    predict(tmp_path / "one", checkpoint, *random, "run.seed=3")
    predict_and_die(tmp_path / "two", checkpoint, *random, "run.seed=4", batches=5)
    in_processes(predict_in_processes, tmp_path / "two", checkpoint, [*random, "run.seed=5"])
    assert written(tmp_path / "two") == written(tmp_path / "one")
    assert not list((tmp_path / "two").glob("*/.predictions*"))


@pytest.mark.slow
def test_what_another_run_is_predicting_is_left_to_it(checkpoint: Path, tmp_path: Path) -> None:
    predict_and_die(tmp_path, checkpoint, batches=5)
    (folder,) = tmp_path.glob("*/.predictions-*")
    claim = Claim(folder)
    with pytest.raises(ConfigError, match="another run of this id"):
        predict(tmp_path, checkpoint)
    claim.release()
    predict(tmp_path, checkpoint)
    assert written(tmp_path)


@pytest.mark.slow
def test_names_of_classes_come_with_the_weights_and_unreadable_images_are_left_out(
    tmp_path: Path,
) -> None:
    random = np.random.default_rng(0)
    for name in ("train/cat", "train/dog", "new"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(8):
            pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    (tmp_path / "images" / "new" / "3.png").write_bytes(b"torn")
    small = [
        "learner.hparams.num_classes=2", "learner.hparams.model.backbone.in_chans=3",
        f"run.data_root={tmp_path / 'images'}", "method=supervised", "data=image_folder",
        "data.image_size=8", "data.val=null", "data.test=null", "data.train.unlabeled=null",
        "data.train.supervised.batch_size_per_gpu=8", "data.labels_per_class=null",
        "learner.hparams.model.backbone.widths=[4,8]", "run.gpus=0",
    ]  # fmt: skip
    trained = composed("quickstart", *small, "run.num_iterations=1", f"run.dir={tmp_path / 'old'}")
    checkpoint = Path(run(trained, check(trained, MODES))["folder"]) / "checkpoints" / "last.ckpt"
    new = [
        "++data.predict.dataset.name=image_files", "++data.predict.dataset.subset=new",
        "++data.predict.dataset.on_error=skip",
    ]  # fmt: skip
    config = composed(
        "quickstart", "run.mode=PREDICT", *small, *new, f"run.dir={tmp_path / 'new'}",
        "++data.predict.batch_size_per_gpu=3", f"run.pretrained_checkpoint_path={checkpoint}",
    )  # fmt: skip
    summary = run(config, check(config, MODES))
    rows = list(csv.DictReader((Path(summary["folder"]) / "predictions.csv").open()))
    assert [row["id"] for row in rows] == [f"new/{n}.png" for n in range(8) if n != 3]
    assert list(rows[0])[-2:] == ["probability.cat", "probability.dog"]
    assert {row["class"] for row in rows} <= {"cat", "dog"}


def test_only_what_was_written_whole_counts(tmp_path: Path) -> None:
    store = PartStore(tmp_path / "parts")
    assert store.finished() == {}
    for number in range(4):
        store.write(number, f"content {number}".encode())
    paths = store.finished()
    assert list(paths) == [0, 1, 2, 3]
    paths[1].write_bytes(b"content")
    (tmp_path / "parts" / "part-00000007").write_bytes(b"content 7")
    assert list(store.finished()) == [0, 2, 3]
    assert len(list((tmp_path / "parts").iterdir())) == 3
    store.remove()
    assert not (tmp_path / "parts").exists()


def part(start: int, stop: int) -> Part:
    """Rows with a column of each kind."""
    index = np.arange(start, stop)
    values = torch.from_numpy(index).float()
    return Part(
        index,
        [f"a,{row}\n" * (row + 1) for row in index.tolist()],
        {
            "score": values / 3,
            "short": (values / 3).bfloat16(),
            "pair": Labelled(torch.stack([values, -values], dim=1), ["up, down", "π"]),
            "grid": values[:, None, None].expand(-1, 2, 2).contiguous(),
            "text": [f"row {row}" for row in index.tolist()],
        },
    )


@pytest.mark.parametrize("form", FORMATS)
def test_parts_become_what_one_part_is(form: str, tmp_path: Path) -> None:
    """The rows of several parts are those of a single one, in every format."""
    store = {name: PartStore(tmp_path / name) for name in ("one", "three")}
    store["one"].write(0, FORMATS[form].encode(part(0, 7)))
    for number, bounds in enumerate([(0, 2), (2, 6), (6, 7)]):
        store["three"].write(number, FORMATS[form].encode(part(*bounds)))
    read = {}
    for name, parts in store.items():
        target = tmp_path / f"{name}-merged"
        FORMATS[form].merge(list(parts.finished().values()), target)
        read[name] = target
    if form == "csv":
        assert read["one"].read_bytes() == read["three"].read_bytes()
        rows = list(csv.DictReader(read["one"].open(newline="")))
        assert [row["id"] for row in rows] == part(0, 7).ids
        assert [np.float32(row["score"]) for row in rows] == part(0, 7).columns["score"].tolist()
        assert [float(row["pair.up, down"]) for row in rows] == list(range(7))
        assert [float(row["grid.1.0"]) for row in rows] == list(range(7))
    elif form == "parquet":
        from pyarrow import parquet

        table, other = (parquet.read_table(path) for path in read.values())
        assert table.equals(other)
        assert table["grid"].to_pylist()[5] == [[5.0, 5.0], [5.0, 5.0]]
        assert table["pair.π"].to_pylist() == [-float(row) for row in range(7)]
    else:
        for file in read["one"].iterdir():
            assert file.read_bytes() == (read["three"] / file.name).read_bytes()
        assert np.load(read["one"] / "id.npy").tolist() == part(0, 7).ids
        assert np.load(read["one"] / "short.npy").dtype == np.float32
        assert np.load(read["one"] / "pair.npy").shape == (7, 2)


@pytest.mark.parametrize("form", FORMATS)
def test_a_failing_merge_leaves_nothing(form: str, tmp_path: Path) -> None:
    store = PartStore(tmp_path / "parts")
    store.write(0, FORMATS[form].encode(part(0, 2)))
    paths = [*store.finished().values(), tmp_path / "parts" / "gone"]
    with pytest.raises(FileNotFoundError, match="gone"):
        FORMATS[form].merge(paths, tmp_path / "out" / "result")
    assert list(tmp_path.glob("out/*")) == []


def test_positions_of_chosen_rows_are_those_of_the_data() -> None:
    samples = Samples(lambda i: {"image": i}, [f"s{i}" for i in range(9)])
    chosen = choose_rows(samples.select(np.array([1, 4, 8])), rows=[8, 1])
    assert chosen.positions.tolist() == [8, 1]
