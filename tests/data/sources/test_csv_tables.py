"""Tables of images: what is read of a CSV file, and what is rejected, with its line."""

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from PIL import Image
from readers import indexed

from sesemi_like.data import dataset
from sesemi_like.data.samples import Samples
from sesemi_like.errors import ConfigError

E_ACUTE = "\u00e9"  # one character of two forms


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate(
        ["train/cat/a.png", "val/cat/d.png", "val/dog/e.png", "heap/f.png"]
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), (number,) * 3).save(tmp_path / name)
    return tmp_path


def problems(call: Callable[..., Any], **kwargs: Any) -> list[tuple[str, str, str]]:
    with pytest.raises(ConfigError) as caught:
        call(**kwargs)
    return [(p.key, p.value, p.expected) for p in caught.value.problems]


@pytest.fixture
def write(root: Path) -> Callable[..., Any]:
    """Writes a table beside four images `0.png` to `3.png`."""
    for number in range(4):
        Image.new("RGB", (2, 2), (number,) * 3).save(root / f"{number}.png")

    def written(text: bytes | str, **settings: Any) -> Samples | None:
        content = text if isinstance(text, bytes) else text.encode()
        (root / "t.csv").write_bytes(content)
        return indexed("csv", str(root / "t.csv"), **settings)

    return written


def labels(samples: Samples) -> list[Any]:
    """The label of each row, by name."""
    return [None if t < 0 else samples.classes[t] for t in samples.targets.tolist()]


@pytest.fixture
def table(root: Path) -> Path:
    path = root / "table.csv"
    path.write_text(
        "path,label,split\n"
        "train/cat/a.png,10,train\nheap/f.png,,train\nval/dog/e.png,9,val\nval/cat/d.png,10,val\n"
    )
    return path


def test_csv_numbers_classes_of_the_whole_table_and_leaves_empty_labels_out(table: Path) -> None:
    samples = indexed("csv", str(table), "train")
    assert samples.classes == ["9", "10"]  # by number, not by letter
    assert samples.targets.tolist() == [1, -1]
    assert samples.row_ids() == ["train/cat/a.png", "heap/f.png"]
    assert samples[1]["image"].unique().tolist() == [3]
    assert indexed("csv", str(table), ["val", "train"]).targets.tolist() == [1, -1, 0, 1]


def test_csv_with_other_columns_byte_order_mark_and_no_labels(root: Path) -> None:
    path = root / "other.csv"
    path.write_text("\ufefffile,kind\nheap/f.png,x\n", encoding="utf-8")
    samples = indexed("csv", str(path), path_column="file", label_column="kind")
    assert samples.classes == ["x"]
    path.write_text("path\nheap/f.png\n")
    assert indexed("csv", str(path)).targets.tolist() == [-1]


def test_csv_mistakes_name_columns_and_splits(table: Path) -> None:
    call = lambda **kwargs: indexed("csv", str(table), **kwargs)  # noqa: E731
    reported = problems(call, subset="train", path_column="paht", split_column="fold")
    assert [(key, value) for key, value, _ in reported] == [
        ("path_column", "paht"),
        ("split_column", "fold"),
    ]
    assert "did you mean 'path'" in reported[0][2]
    ((key, value, expected),) = problems(call, subset="trian")
    assert (key, value) == ("subset", "trian")
    assert "did you mean 'train'" in expected
    assert problems(lambda: indexed("csv", "nowhere.csv"))[0][0] == "root"


def test_csv_names_a_missing_image(table: Path) -> None:
    with table.open("a") as file:
        file.write("val/cat/gone.png,9,val\n")
    ((key, value, expected),) = problems(lambda: indexed("csv", str(table)))
    assert key == "root"
    assert value == str(table)
    assert "1 of its images" in expected
    assert "gone.png" in expected


def test_csv_that_lacks_one_of_the_splits_is_refused(table: Path) -> None:
    ((key, value, _),) = problems(lambda: indexed("csv", str(table), ["train", "test"]))
    assert (key, value) == ("subset", "test")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path,label\n0.png, cat\n1.png,cat \n2.png,\tdog\n", ["cat", "cat", "dog"]),
        ("path, label\n0.png,cat\n1.png,dog\n2.png,cat\n", ["cat", "dog", "cat"]),
        ('path, "label"\n0.png, "cat"\n1.png,"dog"\n2.png,"-1"\n', ["cat", "dog", None]),
        ("path,label\n0.png,-1\n1.png,0\n2.png,1\n", [None, "0", "1"]),
        ("path,label\n0.png,-1.0\n1.png,10.0\n2.png,2.0\n", [None, "10.0", "2.0"]),
        ("path,label\n0.png,-1\n1.png,cat\n2.png, \n", [None, "cat", None]),
        ("path,label\r\n\r\n0.png,a\r\n,\r\n1.png,b\r\n2.png,a", ["a", "b", "a"]),
        ("path,label\n0.png,\u00b2\n1.png,1\n2.png,\u00b2\n", ["\u00b2", "1", "\u00b2"]),
        ("path,label,,\n0.png,a,,\n1.png,b,,\n2.png,a,,\n", ["a", "b", "a"]),
        ('path,label,note\n0.png,a,"two\nlines"\n1.png,b,\n2.png,a,\n', ["a", "b", "a"]),
    ],
)
def test_labels_are_read_without_what_does_not_count(
    write: Callable[..., Any], text: str, expected: list[Any]
) -> None:
    assert labels(write(text)) == expected


def test_forms_of_one_character_are_one_class(write: Callable[..., Any]) -> None:
    one, other = (unicodedata.normalize(form, E_ACUTE) for form in ("NFC", "NFD"))
    assert one != other
    samples = write(f"path,label\n0.png,{one}\n1.png,{other}\n")
    assert (samples.classes, samples.targets.tolist()) == ([one], [0, 0])


def test_numbers_sort_as_numbers(write: Callable[..., Any]) -> None:
    assert write("path,label\n0.png,10\n1.png,9.5\n2.png,-3\n").classes == ["-3", "9.5", "10"]
    assert write("path,label\n0.png,10\n1.png,9\n2.png,a\n").classes == ["10", "9", "a"]


@pytest.mark.parametrize("path", ["./0.png", " 0.png", "0.png "])
def test_spaces_around_a_path_do_not_count_unless_the_file_has_them(
    write: Callable[..., Any], root: Path, path: str
) -> None:
    samples = write(f"path,label\n{path},a\n")
    assert samples[0]["image"].unique().tolist() == [0]
    (root / "3.png").rename(root / "4.png ")
    assert write("path\n4.png \n")[0]["image"].unique().tolist() == [3]


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_path_in_another_form_is_found(
    write: Callable[..., Any],
    root: Path,
    forms: tuple[Literal["NFC", "NFD"], Literal["NFC", "NFD"]],
) -> None:
    on_disk, in_table = (unicodedata.normalize(form, f"{E_ACUTE}.png") for form in forms)
    (root / "2.png").rename(root / on_disk)
    assert write(f"path\n{in_table}\n")[0]["image"].unique().tolist() == [2]


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("path,label\n0.png,01\n1.png,2\n2.png,1\n", "root", ["line 4", "'1'", "line 2", "'01'"]),
        ("path,label\n0.png,1\n1.png,1.0\n", "root", ["line 3", "'1.0'", "'1'"]),
        ("path,label\n0.png,a\n1.png\n2.png,b,c\n", "root", ["line 3: 1 cells", "line 4: 3 cells"]),
        ("path,label,path\n0.png,a,1.png\n", "root", ["repeats 'path'"]),
        ("path,label, label\n0.png,a,b\n", "root", ["repeats 'label'"]),
        ('path,label\n0.png,a\n1.png,"b\n2.png,c\n', "root", ["line 3", "quote"]),
        ('path,label\n0.png,a\n1.png,"b\n2.png,c",\n', "root", ["line 3", "3 cells"]),
        ('path,label\n1.png,"b\n2.png,c"\n3.png,"d\ne"\n', "root", ["line 2", "line 4", "several"]),
        ('path,label\n0.png,a"b"\n1.png,"a"b\n', "root", ["line 3"]),
        ("path,label\n0.png,a\n ,b\n", "root", ["line 3: no path"]),
        ("path,label\n0.png,a\0b\n", "root", ["line 2"]),
        ("path,labell\n0.png,a\n", "label_column", ["did you mean 'labell'", "null reads"]),
        ("path,class\n0.png,a\n", "label_column", ["columns: class, path"]),
        ("path;label\n0.png;a\n", "path_column", ["separated by commas"]),
        ("path\tlabel\n0.png\ta\n", "path_column", ["separated by commas"]),
        ("", "path_column", ["no such column"]),
        ("path,label\n", "root", ["no rows"]),
        (f"path,label\n0.png,a\n1.png,{E_ACUTE}\n".encode("latin-1"), "root", ["line 3", "UTF-8"]),
        ("path,label\n0.png,a\n".encode("utf-16"), "root", ["UTF-16"]),
        ("path,label\n0.png,a\n".encode("utf-16-le"), "root", ["line 1", "zero byte"]),
        ("path,label\n" + "x" * 300 + "/" + "y" * 300 + ",a\n", "root", ["1 of its images"]),
    ],
)  # fmt: skip
def test_invalid_tables_are_rejected_with_the_line(
    write: Callable[..., Any], text: bytes | str, key: str, words: list[str]
) -> None:
    reported = problems(write, text=text)
    assert {k for k, _, _ in reported} >= {key}
    message = " ".join(expected for k, _, expected in reported if k == key)
    assert all(word in message for word in words), message


def test_many_faults_are_counted(write: Callable[..., Any]) -> None:
    reported = problems(write, text="path,label\n" + "0.png\n" * 100)
    assert len(reported) == 6
    assert "95 more lines" in reported[-1][2]


def test_a_table_is_read_without_labels_where_that_is_said_or_plain(
    write: Callable[..., Any],
) -> None:
    text = "path,label,split\n0.png,a,x\n1.png,b,y\n"
    samples = write(text, label_column=None)
    assert (samples.classes, samples.targets.tolist()) == (None, [-1, -1])
    assert write("path,split\n0.png,x\n").targets.tolist() == [-1]
    ((key, value, _),) = problems(write, text="path,split\n0.png,x\n", label_column="kind")
    assert (key, value) == ("label_column", "kind")


def test_splits_are_compared_as_labels_are(write: Callable[..., Any]) -> None:
    text = "path,label,split\n0.png,a, 1\n1.png,b,train \n2.png,b,1\n"
    assert write(text, subset=1).row_ids() == ["0.png", "2.png"]
    assert write(text, subset="train").row_ids() == ["1.png"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,label\n0.png,Cat\n1.png,cat\n", "line 3: class 'cat' looks like 'Cat' of line 2"),
        ("path,label\n0.png,cat\n1.png,c\u200bat\n", "looks like 'cat' of line 2"),
        ("path,label\n0.png,cat\n1.png,NaN\n", "line 3: 'NaN' is taken as a class"),
        ("path,label\n0.png,a\n1.png,b\n0.png,b\n", "line 4: 0.png has the label 'b' here and 'a'"),
    ],
)  # fmt: skip
def test_what_may_be_meant_is_reported(
    write: Callable[..., Any], caplog: pytest.LogCaptureFixture, text: str, words: str
) -> None:
    write(text)
    assert words in caplog.text
    caplog.clear()
    write("path,label\n0.png,cat\n1.png,dog\n2.png,\n0.png,cat\n0.png,\n")
    assert not caplog.text


def test_a_folder_or_nothing_in_place_of_a_table_is_refused(root: Path) -> None:
    assert "is a folder" in problems(dataset, name="csv", root=str(root))[0][2]
    assert "no such file" in problems(dataset, name="csv", root=str(root / "no.csv"))[0][2]
