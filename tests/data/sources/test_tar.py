"""Samples in tar files: consecutive files of one name, in WebDataset's layout."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from sesemi_like.data.sources.tar import read_samples, write_sample


def tar_of(names: list[str], mode: str = "w") -> io.BytesIO:
    """A tar file of files that hold their own names."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as tar:  # type: ignore[call-overload]
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    file.seek(0)
    return file


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.jpg", "a.cls", "b.jpg"], {"a": ["jpg", "cls"], "b": ["jpg"]}),
        (["x.y/a.JPG", "x.y/a.cls"], {"x.y/a": ["jpg", "cls"]}),
        (["./a.jpg", "a.jpg"], {"./a": ["jpg"], "a": ["jpg"]}),
        (["a.seg.png", "a.jpg"], {"a": ["seg.png", "jpg"]}),
        (["README", ".hidden", "a.jpg", "__meta__", "__shard__/x.json"], {"a": ["jpg"]}),
        ([], {}),
    ],
)
def test_consecutive_files_of_one_name_are_a_sample(
    names: list[str], expected: dict[str, list[str]]
) -> None:
    samples = list(read_samples(tar_of(names)))
    assert {key: list(fields) for key, fields in samples} == expected
    assert len(samples) == len(expected)
    for key, fields in samples:
        for field, content in fields.items():
            assert content.decode().lower() == f"{key}.{field}".lower()


def test_a_name_that_comes_again_later_is_another_sample() -> None:
    samples = list(read_samples(tar_of(["a.jpg", "b.jpg", "a.cls"])))
    assert [(key, list(fields)) for key, fields in samples] == [
        ("a", ["jpg"]), ("b", ["jpg"]), ("a", ["cls"]),
    ]  # fmt: skip


def test_a_field_that_is_there_twice_is_reported() -> None:
    with pytest.raises(ValueError, match=r"a\.jpg is there twice"):
        list(read_samples(tar_of(["a.jpg", "a.JPG"])))


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_compressed_files_are_read(mode: str) -> None:
    assert [key for key, _ in read_samples(tar_of(["a.jpg", "b.jpg"], mode))] == ["a", "b"]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    samples = {"7": {"jpg": bytes(range(256)) * 9, "cls": b"1"}, "8": {"png": b""}}
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for key, fields in samples.items():
            write_sample(tar, key, fields)
    with (tmp_path / "a.tar").open("rb") as stream:
        assert dict(read_samples(stream)) == samples


def test_a_torn_file_gives_whole_samples_or_an_error() -> None:
    names = [f"{number}.{field}" for number in range(9) for field in ("jpg", "cls")]
    whole = tar_of(names).getvalue()
    expected = dict(read_samples(io.BytesIO(whole)))
    for size in range(1, len(whole), 100):
        fields: dict[str, dict[str, bytes]] = {}
        try:
            for key, sample in read_samples(io.BytesIO(whole[:size])):
                fields[key] = sample
        except tarfile.TarError:
            assert fields == {key: expected[key] for key in fields}
        else:  # torn between two files, as a whole file might end
            last = list(fields)[-1:]
            assert all(fields[key] == expected[key] for key in fields if key not in last)


def test_names_are_those_of_webdataset() -> None:
    library = pytest.importorskip("webdataset.tariterators", reason="WebDataset is not installed")
    names = ["a/b.c/d.e.f", "x.jpg", "x.CLS", "y", ".z", "q/.z", "__meta__", "u/__v__/w.jpg", "..a"]
    stream = {"url": "u", "stream": tar_of(names)}
    theirs = [
        (sample.pop("__key__"), {k: v for k, v in sample.items() if k != "__url__"})
        for sample in library.group_by_keys(library.tar_file_expander([stream]))
    ]
    assert list(read_samples(tar_of(names))) == theirs
