"""Class folders, loose images and tables: what is read, in which order, and what is refused."""

import logging
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from readers import indexed

from sesemi_like.data import dataset
from sesemi_like.data.cache.plan import cache_samples
from sesemi_like.errors import ConfigError, UnreadableSampleError


def write_image(
    path: Path, value: int = 0, size: tuple[int, int] = (6, 4), mode: str = "RGB"
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    color = value if mode in ("L", "P") else (value,) * len(mode)
    Image.new(mode, size, color).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    top = tmp_path / "pets"
    for number, name in enumerate(["train/cat/b.png", "train/cat/a.png", "train/dog/deep/c.PNG",
                                   "val/cat/d.png", "val/dog/e.png", "heap/f.png"]):  # fmt: skip
        write_image(top / name, value=number)
    (top / "train" / "cat" / "notes.txt").write_text("no image")
    write_image(top / "train" / "cat" / ".hidden.png")
    return top


def problems(call: Callable[..., Any], **kwargs: Any) -> list[Any]:
    with pytest.raises(ConfigError) as caught:
        call(**kwargs)
    return [(p.key, p.value, p.expected) for p in caught.value.problems]


def test_image_folder_reads_a_subset_sorted_with_its_classes(root: Path) -> None:
    samples = indexed("image_folder", str(root), "train")
    assert samples.row_ids() == ["train/cat/a.png", "train/cat/b.png", "train/dog/deep/c.PNG"]
    assert samples.classes == ["cat", "dog"]
    assert samples.targets.tolist() == [0, 0, 1]
    sample = samples[2]
    assert (sample["target"], sample["index"]) == (1, 2)
    assert sample["image"].shape == (3, 4, 6)
    assert sample["image"].unique().tolist() == [2]


def test_image_folder_strings_subsets_together_in_the_order_given(root: Path) -> None:
    samples = indexed("image_folder", str(root), ["val", "train"])
    assert [name.split("/")[0] for name in samples.row_ids()] == ["val"] * 2 + ["train"] * 3
    assert samples.targets.tolist() == [0, 1, 0, 0, 1]


def test_image_folder_without_a_subset_reads_every_folder_and_loose_ones_unlabeled(
    root: Path,
) -> None:
    samples = indexed("image_folder", str(root))
    assert dict(zip(samples.row_ids(), samples.targets.tolist(), strict=True)) == {
        "heap/f.png": -1, "train/cat/a.png": 0, "train/cat/b.png": 0, "train/dog/deep/c.PNG": 1,
        "val/cat/d.png": 0, "val/dog/e.png": 1,
    }  # fmt: skip


def test_image_folder_of_class_folders_alone(root: Path) -> None:
    samples = indexed("image_folder", str(root / "val"))
    assert (samples.classes, samples.targets.tolist()) == (["cat", "dog"], [0, 1])


def test_image_files_finds_images_at_any_depth_and_gives_no_labels(root: Path) -> None:
    samples = indexed("image_files", str(root))
    assert len(samples) == 6
    assert set(samples.targets.tolist()) == {-1}
    assert samples.classes is None
    assert indexed("image_files", str(root), "heap").row_ids() == ["heap/f.png"]


@pytest.mark.parametrize("kind", ["image_folder", "image_files"])
def test_missing_folders_are_reported_with_those_that_exist(root: Path, kind: str) -> None:
    call = lambda **kwargs: indexed(kind, **kwargs)  # noqa: E731
    ((key, value, expected),) = problems(call, root=str(root.parent / "pest"))
    assert (key, value) == ("root", str(root.parent / "pest"))
    assert "did you mean 'pets'" in expected
    reported = problems(call, root=str(root), subset=["trian", "val", "nothing"])
    assert [(key, value) for key, value, _ in reported] == [
        ("subset", "trian"),
        ("subset", "nothing"),
    ]
    assert "did you mean 'train'" in reported[0][2]
    assert all(name in reported[1][2] for name in ("heap", "train", "val"))


@pytest.mark.parametrize("kind", ["image_folder", "image_files"])
def test_a_file_in_place_of_a_folder_is_reported(root: Path, kind: str) -> None:
    file = root / "heap" / "f.png"
    assert problems(dataset, name=kind, root=str(file))[0][2] == "is a file; give a folder"


@pytest.mark.parametrize("kind", ["image_folder", "image_files"])
def test_a_folder_without_images_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "train" / "cat").mkdir(parents=True)
    ((key, _, expected),) = problems(lambda: indexed(kind, str(tmp_path)))
    assert key == "root"
    assert "no images" in expected


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
def test_every_kind_of_image_becomes_rgb(tmp_path: Path, mode: str) -> None:
    write_image(tmp_path / "a" / ("x.jpg" if mode == "CMYK" else "x.png"), 7, mode=mode)
    image = indexed("image_files", str(tmp_path))[0]["image"]
    assert image.shape == (3, 4, 6)
    assert str(image.dtype) == "torch.uint8"


@pytest.mark.parametrize("kind", ["image_folder", "image_files"])
def test_a_subset_that_is_a_number_names_a_folder(root: Path, kind: str) -> None:
    write_image(root / "1" / "cat" / "g.png", 9)
    samples = indexed(kind, str(root), 1)
    assert samples.row_ids() == ["1/cat/g.png"]
    assert indexed(kind, str(root), [1, "val"]).row_ids()[0] == "1/cat/g.png"
    for wrong in (True, 1.5, [None], [], {"a": 1}):
        ((key, value, expected),) = problems(dataset, name=kind, root=str(root), subset=wrong)
        assert (key, value) == ("subset", wrong)
        assert "needs a name or a list of names" in expected


JUNK = [".ipynb_checkpoints", ".thumbnails", "@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN"]


@pytest.mark.parametrize("kind", ["image_folder", "image_files"])
def test_hidden_and_system_folders_are_left_out_and_counted(
    root: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    before = indexed(kind, str(root))
    for name in JUNK:
        for place in (
            root,
            root / "train",
            root / "train" / "cat",
            root / "train" / "dog" / "deep",
        ):
            write_image(place / name / "more" / "x.png", 9)
    samples = indexed(kind, str(root))
    assert samples.row_ids() == before.row_ids()
    assert (samples.classes, samples.targets.tolist()) == (before.classes, before.targets.tolist())
    left = caplog.messages[-1]
    assert "left out" in left
    assert "hidden and system folders" in left
    assert all(name in left for name in ("#recycle", ".ipynb_checkpoints"))


def test_what_is_left_out_of_a_subset_is_counted(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for number in range(3):
        write_image(root / "val" / "cat" / ".ipynb_checkpoints" / f"{number}.png")
    write_image(root / "val" / "@eaDir" / "cat" / "x.png")
    write_image(root / "val" / "dog" / "._e.png")
    (root / "val" / "dog" / "phone.HEIC").write_bytes(b"")
    indexed("image_folder", str(root), "val")
    assert "left out 5 images in hidden and system folders" in caplog.text
    assert "left out 1 .heic files" in caplog.text


def test_a_folder_of_class_folders_stays_one_beside_system_folders(tmp_path: Path) -> None:
    for name in ("cat/a.png", "dog/b.png", "cat/@eaDir/a.png", "__MACOSX/cat/a.png"):
        write_image(tmp_path / name)
    assert indexed("image_folder", str(tmp_path)).classes == ["cat", "dog"]


def test_formats_that_are_not_read_are_named_where_nothing_else_is_there(tmp_path: Path) -> None:
    (tmp_path / "a" / "cat").mkdir(parents=True)
    (tmp_path / "a" / "cat" / "phone.heic").write_bytes(b"")
    ((_, _, expected),) = problems(dataset, name="image_folder", root=str(tmp_path))
    assert "1 .heic files are there, in formats that are not supported" in expected


def test_a_folder_that_cannot_be_read_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    ((key, value, expected),) = problems(dataset, name="image_files", root=str(root))
    assert (key, value) == ("root", str(root))
    assert "cannot be read: Permission denied" in expected


def test_forms_of_one_character_are_one_class_folder_and_one_subset(tmp_path: Path) -> None:
    one, other = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    for number, name in enumerate([f"{one}/{one}", f"{one}/{other}", f"{one}/tea", f"b/{other}"]):
        write_image(tmp_path / name / f"{number}.png", number)
    samples = indexed("image_folder", str(tmp_path), [other, "b"])
    assert samples.classes == [one, "tea"]
    values = [samples[row]["image"].max().item() for row in range(4)]
    assert dict(zip(values, samples.targets.tolist(), strict=True)) == {0: 0, 1: 0, 2: 1, 3: 0}


def test_class_folders_that_look_alike_are_reported(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    indexed("image_folder", str(root), "train")
    assert "looks like" not in caplog.text
    write_image(root / "train" / "Cat" / "g.png")
    assert indexed("image_folder", str(root), "train").classes == ["Cat", "cat", "dog"]
    assert "class folder 'cat' looks like 'Cat', but is a different class" in caplog.text


@pytest.mark.skipif(os.name != "posix", reason="names are bytes there alone")
def test_file_names_that_are_not_utf8_are_read_and_reported(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    write_image(tmp_path / "images" / "train" / name / f"{name}.png", 7)
    write_image(tmp_path / "images" / "train" / "tea" / "x.png")
    samples = cache_samples(
        indexed("image_folder", str(tmp_path / "images")), "disk", folder=tmp_path
    )
    shown = "caf\\udce9"
    assert samples.classes == [shown, "tea"]
    assert samples.row_ids()[0] == f"train/{shown}/{shown}.png"
    assert samples[0]["image"].unique().tolist() == [7]
    (tmp_path / "list.csv").write_text(",".join([*samples.row_ids(), *samples.classes]), "utf-8")
    (tmp_path / "images" / "train" / name / f"{name}.png").write_bytes(b"broken")
    with pytest.raises(UnreadableSampleError, match="no image of a known format") as caught:
        indexed("image_folder", str(tmp_path / "images"))[0]
    assert shown in str(caught.value)
    str(caught.value).encode()


def test_image_transform_gets_a_pil_image_and_may_give_fields(root: Path) -> None:
    def transform(image: Image.Image) -> dict[str, Any]:
        assert isinstance(image, Image.Image)
        return {"image": np.asarray(image), "width": image.width}

    sample = indexed("image_folder", str(root), "val", transform)[0]
    assert set(sample) == {"image", "width", "target", "index"}
    assert sample["width"] == 6
