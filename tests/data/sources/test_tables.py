"""Tables of every format against NumPy, what rows may lack, and what is refused, by row."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
from composing import composed
from pyarrow import parquet
from sklearn.datasets import load_breast_cancer

from sesemi_like.config.check import check
from sesemi_like.data import Samples, dataset
from sesemi_like.data.stacking import stack_samples
from sesemi_like.errors import ConfigError, UnreadableSampleError
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES

VALUES = np.array([[1.5, 2.0, 3.0], [4.25, 5.0, 6.0], [7.0, 8.0, 9.125]], dtype=np.float32)
COUNTS = [3, 1, 2]
LABELS = ["b", "", "a"]
SPLITS = ["train", "val", "train"]
WORDS = ["one", "two", "three"]


def write_csv(path: Path, columns: dict[str, Any]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def in_csv(folder: Path) -> Path:
    columns = {f"x{i}": VALUES[:, i].tolist() for i in range(3)}
    columns |= {"n": COUNTS, "label": LABELS, "split": SPLITS, "words": WORDS}
    return write_csv(folder / "rows.csv", columns)


def in_parquet(folder: Path) -> Path:
    columns: dict[str, Any] = {f"x{i}": VALUES[:, i] for i in range(3)}
    columns |= {"n": COUNTS, "label": [*LABELS[:1], None, LABELS[2]], "split": SPLITS}
    parquet.write_table(pa.table({**columns, "words": WORDS}), folder / "rows.parquet")
    return folder / "rows.parquet"


def in_npz(folder: Path) -> Path:
    columns: dict[str, Any] = {f"x{i}": VALUES[:, i].astype(np.float64) for i in range(3)}
    np.savez(folder / "rows.npz", n=COUNTS, label=LABELS, split=SPLITS, words=WORDS, **columns)
    return folder / "rows.npz"


def in_npy(folder: Path) -> Path:
    columns: dict[str, Any] = {f"x{i}": VALUES[:, i] for i in range(3)}
    columns |= {"n": COUNTS, "label": LABELS, "split": SPLITS, "words": WORDS}
    for name, values in columns.items():
        np.save(folder / f"{name}.npy", np.asarray(values))
    return folder


def read(root: Path, **keys: Any) -> Samples:
    samples = dataset("table", str(root), **keys)
    assert isinstance(samples, Samples)
    return samples


def problem(root: Path, **keys: Any) -> tuple[str, str]:
    with pytest.raises(ConfigError) as caught:
        read(root, **keys)
    found = caught.value.problems[0]
    return found.key, found.expected


@pytest.mark.parametrize("write", [in_csv, in_parquet, in_npz, in_npy])
def test_every_format_holds_the_same_rows(write: Callable[[Path], Path], tmp_path: Path) -> None:
    fields = {"vector": "x*", "pair": ["x2", "n"], "count": "n", "words": "words"}
    samples = read(write(tmp_path), fields=fields, target_column="label", id_column="words")
    assert samples.classes == ["a", "b"]
    assert samples.targets.tolist() == [1, -1, 0]
    assert samples.row_ids() == WORDS
    batch = samples.__getitems__([2, 0]).fields  # type: ignore[union-attr]
    np.testing.assert_array_equal(batch["vector"].numpy(), VALUES[[2, 0]])
    np.testing.assert_array_equal(batch["pair"].numpy(), [[9.125, 2], [3, 3]])
    assert (batch["vector"].dtype, batch["count"].dtype) == (torch.float32, torch.int64)
    assert batch["count"].tolist() == [2, 3]
    assert batch["words"] == ["three", "one"]
    assert batch["index"].tolist() == [2, 0]
    sample = samples[1]
    assert (sample["target"], sample["index"], sample["words"]) == (-1, 1, "two")
    np.testing.assert_array_equal(sample["vector"].numpy(), VALUES[1])


@pytest.mark.parametrize("write", [in_csv, in_parquet, in_npz, in_npy])
def test_a_split_keeps_positions_and_classes(write: Callable[[Path], Path], tmp_path: Path) -> None:
    root = write(tmp_path)
    samples = read(root, subset="val", fields={"v": "x*"}, target_column="label")
    assert (len(samples), samples.classes, samples[0]["index"]) == (1, ["a", "b"], 1)
    np.testing.assert_array_equal(samples[0]["v"].numpy(), VALUES[1])
    both = read(root, subset=["val", "train"], fields={"v": "x*"})
    assert both.positions.tolist() == [0, 1, 2]
    unknown = problem(root, subset="tarin", fields={"v": "x*"})
    assert unknown == (
        "subset",
        "no row has this split; did you mean 'train'? (splits: train, val)",
    )


def test_subsets_may_be_files(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", {"x": [1.5, 2.5], "y": ["b", "a"]})
    np.savez(tmp_path / "val.npz", x=np.array([3.5]), y=np.array(["c"]))
    (tmp_path / "extra").mkdir()
    np.save(tmp_path / "extra" / "x.npy", np.array([4.5, 5.5]))
    np.save(tmp_path / "extra" / "y.npy", np.array(["", "a"]))
    keys: dict[str, Any] = {"fields": {"x": ["x"]}, "target_column": "y"}
    samples = read(tmp_path, subset=["val", "extra", "train"], **keys)
    assert samples.row_ids() == ["val/0", "extra/0", "extra/1", "train/0", "train/1"]
    batch = samples.__getitems__([4, 0, 2, 1]).fields  # type: ignore[union-attr]
    assert batch["x"].tolist() == [2.5, 3.5, 5.5, 4.5]
    assert batch["target"].tolist() == [0, 2, 0, -1]
    assert len(read(tmp_path, **keys)) == 5
    assert "no such table" in problem(tmp_path, subset="tset", **keys)[1]
    np.savez(tmp_path / "wide.npz", x=np.ones((2, 3)), y=np.array(["c", "a"]))
    assert "field 'x' is float32 (3,)" in problem(tmp_path, subset=["val", "wide"], **keys)[1]


def test_lists_of_a_parquet_column_are_vectors(tmp_path: Path) -> None:
    rows = [[1.0, 2.0], None, [3.0, 4.0]]
    parquet.write_table(pa.table({"v": rows, "w": [[1], [2], [3]]}), tmp_path / "a.parquet")
    samples = read(tmp_path / "a.parquet", fields={"w": "w", "v": "v"}, optional=["v"])
    batch = samples.__getitems__([2, 1, 0]).fields  # type: ignore[union-attr]
    assert batch["v"].tolist() == [[3.0, 4.0], [1.0, 2.0]]
    assert batch["v.row"].tolist() == [0, 2]
    assert (batch["w"].tolist(), batch["w"].dtype) == ([[3], [2], [1]], torch.int64)
    assert set(samples[1]) == {"w", "index"}
    ragged = [[1.0, 2.0], [1.0], [3.0, 4.0]]
    parquet.write_table(pa.table({"v": ragged}), tmp_path / "b.parquet")
    assert problem(tmp_path / "b.parquet", fields={"v": "v"}) == (
        "root", "row 1: column 'v': a list of 1 numbers, where others have 2"
    )  # fmt: skip


def test_a_missing_value_names_row_and_column(tmp_path: Path) -> None:
    root = write_csv(tmp_path / "a.csv", {"x": [1.5, "", 3], "y": [1, 2, ""], "s": ["a", "", "c"]})
    assert problem(root, fields={"x": ["y", "x"]}) == ("root", "line 3: no value in column 'x'")
    assert problem(root, fields={"s": "s"}) == ("root", "line 3: no value in column 's'")
    half = problem(root, fields={"x": ["x", "y"]}, optional=["x"])[1]
    assert half.startswith("line 3: no value in column 'x'; a row has all columns")
    np.savez(tmp_path / "b.npz", x=np.array([[1.0, 2.0], [np.nan, 1.0]]))
    assert problem(tmp_path / "b.npz", fields={"x": "x"}) == (
        "root", "row 1: no value in column 'x'"
    )  # fmt: skip
    wrong = write_csv(tmp_path / "c.csv", {"x": [1, "two", 3]})
    assert problem(wrong, fields={"x": "x"}) == (
        "root", "line 3: column 'x': 'two' is no number, and others are"
    )  # fmt: skip
    assert read(wrong, fields={"x": "x"}, text=["x"])[1]["x"] == "two"


def test_rows_may_lack_optional_fields(tmp_path: Path) -> None:
    root = write_csv(tmp_path / "a.csv", {"x": [1, 2, 3], "n": [7, "", 9], "s": ["", "b", "c"]})
    samples = read(root, fields={"x": "x", "n": "n", "s": "s"}, optional=["n", "s"])
    assert [set(samples[row]) - {"index"} for row in range(3)] == [
        {"x", "n"}, {"x", "s"}, {"x", "n", "s"},
    ]  # fmt: skip
    batch = samples.__getitems__([0, 1, 2]).fields  # type: ignore[union-attr]
    assert (batch["n"].tolist(), batch["n.row"].tolist()) == ([7, 9], [0, 2])
    assert (batch["s"], batch["s.row"].tolist()) == (["b", "c"], [1, 2])
    whole = samples.__getitems__([0, 2]).fields  # type: ignore[union-attr]
    assert (whole["n"].tolist(), whole["n.row"].tolist()) == ([7, 9], [0, 1])
    assert (whole["s"], whole["s.row"].tolist()) == (["c"], [1])
    none = samples.__getitems__([0]).fields  # type: ignore[union-attr]
    assert (none["s"], none["s.row"].tolist()) == ([], [])
    assert samples.fields == ("n", "s")


def test_a_loader_stacks_optional_fields_as_one_by_one(tmp_path: Path) -> None:
    columns = {"x": [1, 2, 3, 4], "v1": [1.5, "", "", 4], "v2": [2.5, "", "", 5]}
    root = write_csv(tmp_path / "a.csv", columns)
    samples = read(root, fields={"x": "x", "v": "v?"}, optional=["v"])
    at_once = samples.__getitems__([3, 1, 0]).fields  # type: ignore[union-attr]
    one_by_one = stack_samples([samples[3], samples[1], samples[0]])
    assert set(at_once) == set(one_by_one)
    for name, values in one_by_one.items():
        assert torch.equal(at_once[name], values), name


def test_npy_files_are_mapped(tmp_path: Path) -> None:
    stored = np.lib.format.open_memmap(  # larger than what a test could load in time
        tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(2_000_000, 100)
    )
    stored[1_234_567] = np.arange(100)
    stored[7, 3] = np.nan
    stored.flush()
    del stored
    samples = read(tmp_path / "x.npy", fields={"v": "x"}, rows=[1_234_567, 3, 7])
    batch = samples.__getitems__([0, 1]).fields  # type: ignore[union-attr]
    np.testing.assert_array_equal(batch["v"].numpy(), [np.arange(100), np.zeros(100)])
    with pytest.raises(UnreadableSampleError, match="row 7: no value in column 'x'"):
        samples.__getitems__([2])


def test_optional_fields_of_mapped_files(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[1.0], [np.nan], [3.0]]))
    np.save(tmp_path / "n.npy", np.array([1, 2, 3]))
    samples = read(tmp_path, fields={"x": "x", "n": "n"}, optional=["x"])
    batch = samples.__getitems__([1, 2]).fields  # type: ignore[union-attr]
    assert (batch["x"].tolist(), batch["x.row"].tolist()) == ([[3.0]], [1])
    assert batch["x"].dtype == torch.float32


@pytest.mark.parametrize(
    ("keys", "key", "reason"),
    [
        ({}, "fields", "needs a mapping of fields"),
        ({"fields": {"target": "x0"}}, "fields.target", "needs a mapping"),
        ({"fields": {"v": []}}, "fields.v", "needs a mapping"),
        ({"fields": {"v": "y*"}}, "fields.v", "no such column"),
        ({"fields": {"v": "word"}}, "fields.v", "did you mean 'words'"),
        ({"fields": {"v": ["x0", "words"]}}, "fields.v", "column 'words' is text"),
        ({"fields": {"v": "x0"}, "optional": ["w"]}, "optional", "no such field"),
        ({"fields": {"v": "x0"}, "target_column": "lable"}, "target_column", "did you mean"),
        ({"fields": {"v": "x0"}, "id_column": "name"}, "id_column", "no such column"),
        ({"fields": {"v": "x0"}, "image_transform": len}, "image_transform", "has no images"),
    ],
)
def test_impossible_settings_are_reported(
    keys: dict[str, Any], key: str, reason: str, tmp_path: Path
) -> None:
    found, expected = problem(in_csv(tmp_path), **keys)
    assert found == key
    assert reason in expected


def test_files_that_are_no_tables_are_reported(tmp_path: Path) -> None:
    fields = {"fields": {"v": "x"}}
    (tmp_path / "a.txt").write_text("x\n1\n")
    (tmp_path / "b.csv").write_bytes(b"x\n\xe9\n")
    (tmp_path / "c.csv").write_text("x,y\n1\n")
    (tmp_path / "d.csv").write_text("x\n")
    (tmp_path / "e.parquet").write_text("nothing")
    np.savez(tmp_path / "f.npz", x=np.zeros(3), y=np.zeros(2))
    (tmp_path / "g").mkdir()
    np.save(tmp_path / "h.npy", np.array([{"x": 1}]), allow_pickle=True)
    for name, reason in {
        "a.txt": "needs a file of .csv, .parquet, .npz, .npy",
        "b.csv": "line 2 is not UTF-8 text",
        "c.csv": "line 2: 1 cells where the header has 2",
        "d.csv": "the table has no rows",
        "e.parquet": "cannot be read",
        "f.npz": "unequal numbers of rows: x 3, y 2",
        "g": "no .npy files",
        "h.npy": "cannot be read",
        "i.csv": "no such file or folder",
    }.items():
        key, expected = problem(tmp_path / name, **fields)
        assert key == "root"
        assert reason in expected, name


def test_the_extra_for_parquet_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = in_parquet(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert "sesemi-like[parquet]" in problem(root, fields={"v": "x*"})[1]


def standardized() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    content = load_breast_cancer()
    return (content.data - content.data.mean(0)) / content.data.std(0), content.target


@pytest.mark.slow
def test_fixmatch_learns_from_the_rows_of_a_table(tmp_path: Path) -> None:
    """Breast cancer: a nearest-centroid rule of the same 20 labels is a floor; both see noise."""
    values, target = standardized()
    order = np.random.default_rng(0).permutation(len(values))
    split = np.empty(len(values), dtype=object)
    split[order] = ["train"] * 400 + ["val"] * 69 + ["test"] * 100
    columns: dict[str, Any] = {f"x{i + 1}": values[:, i] for i in range(30)}
    names = np.array(["malignant", "benign"])[target]
    write_csv(tmp_path / "table.csv", {**columns, "label": names, "split": split})
    hparams = "learner.hparams"
    config = composed(
        "quickstart", "data=table", "backbone=mlp", f"{hparams}.model.input_field=features",
        f"{hparams}.model.backbone.in_features=30", f"{hparams}.num_classes=2",
        f"{hparams}.model.backbone.sizes=32", "data.labels_per_class=10", "run.gpus=0",
        "run.num_iterations=60", f"run.data_root={tmp_path}", f"run.dir={tmp_path / 'runs'}",
    )  # fmt: skip
    summary = run(config, check(config, MODES))
    assert summary["metrics"]["test/top1"] >= 0.9
    assert summary["labels"] == {"supervised": {"benign": 10, "malignant": 10}}
    assert 0 <= summary["metrics"]["val/top1"] <= 1
