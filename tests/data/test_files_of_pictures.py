"""Class folders, loose pictures and tables: what is read, in which order, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from sesemi_like.data import dataset
from sesemi_like.errors import ConfigError


def picture(path, value=0, size=(6, 4), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    color = value if mode in ("L", "P") else (value,) * len(mode)
    Image.new(mode, size, color).save(path)


@pytest.fixture
def root(tmp_path):
    top = tmp_path / "pets"
    for number, name in enumerate(["train/cat/b.png", "train/cat/a.png", "train/dog/deep/c.PNG",
                                   "val/cat/d.png", "val/dog/e.png", "heap/f.png"]):  # fmt: skip
        picture(top / name, value=number)
    (top / "train" / "cat" / "notes.txt").write_text("no picture")
    picture(top / "train" / "cat" / ".hidden.png")
    return top


def problems(call, **kwargs):
    with pytest.raises(ConfigError) as caught:
        call(**kwargs)
    return [(p.key, p.value, p.expected) for p in caught.value.problems]


def test_image_folder_reads_a_subset_sorted_with_its_classes(root):
    found = dataset("image_folder", str(root), "train")
    assert found.row_ids() == ["train/cat/a.png", "train/cat/b.png", "train/dog/deep/c.PNG"]
    assert found.classes == ["cat", "dog"]
    assert found.targets.tolist() == [0, 0, 1]
    sample = found[2]
    assert (sample["target"], sample["index"]) == (1, 2)
    assert sample["image"].shape == (3, 4, 6)
    assert sample["image"].unique().tolist() == [2]


def test_image_folder_strings_subsets_together_in_the_order_given(root):
    found = dataset("image_folder", str(root), ["val", "train"])
    assert [name.split("/")[0] for name in found.row_ids()] == ["val"] * 2 + ["train"] * 3
    assert found.targets.tolist() == [0, 1, 0, 0, 1]


def test_image_folder_without_a_subset_reads_every_folder_and_loose_ones_unlabelled(root):
    found = dataset("image_folder", str(root))
    assert dict(zip(found.row_ids(), found.targets.tolist(), strict=True)) == {
        "heap/f.png": -1, "train/cat/a.png": 0, "train/cat/b.png": 0, "train/dog/deep/c.PNG": 1,
        "val/cat/d.png": 0, "val/dog/e.png": 1,
    }  # fmt: skip


def test_image_folder_of_class_folders_alone(root):
    found = dataset("image_folder", str(root / "val"))
    assert (found.classes, found.targets.tolist()) == (["cat", "dog"], [0, 1])


def test_image_files_finds_pictures_at_any_depth_and_gives_no_labels(root):
    found = dataset("image_files", str(root))
    assert len(found) == 6
    assert set(found.targets.tolist()) == {-1}
    assert found.classes is None
    assert dataset("image_files", str(root), "heap").row_ids() == ["heap/f.png"]


@pytest.mark.parametrize("kind", ["image_folder", "image_files"])
def test_missing_folders_are_told_with_those_that_are_there(root, kind):
    call = lambda **kwargs: dataset(kind, **kwargs)  # noqa: E731
    ((key, value, expected),) = problems(call, root=str(root.parent / "pest"))
    assert (key, value) == ("root", str(root.parent / "pest"))
    assert "did you mean 'pets'" in expected
    found = problems(call, root=str(root), subset=["trian", "val", "nothing"])
    assert [(key, value) for key, value, _ in found] == [("subset", "trian"), ("subset", "nothing")]
    assert "did you mean 'train'" in found[0][2]
    assert all(name in found[1][2] for name in ("heap", "train", "val"))


@pytest.mark.parametrize("kind", ["image_folder", "image_files"])
def test_a_folder_without_pictures_is_refused(tmp_path, kind):
    (tmp_path / "train" / "cat").mkdir(parents=True)
    ((key, _, expected),) = problems(lambda: dataset(kind, str(tmp_path)))
    assert key == "root"
    assert "no pictures" in expected


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
def test_every_kind_of_picture_becomes_rgb(tmp_path, mode):
    picture(tmp_path / "a" / ("x.jpg" if mode == "CMYK" else "x.png"), 7, mode=mode)
    image = dataset("image_files", str(tmp_path))[0]["image"]
    assert image.shape == (3, 4, 6)
    assert str(image.dtype) == "torch.uint8"


@pytest.mark.parametrize("kind", ["image_folder", "image_files"])
def test_a_subset_that_is_a_number_names_a_folder(root, kind):
    picture(root / "1" / "cat" / "g.png", 9)
    found = dataset(kind, str(root), 1)
    assert found.row_ids() == ["1/cat/g.png"]
    assert dataset(kind, str(root), [1, "val"]).row_ids()[0] == "1/cat/g.png"
    for wrong in (True, 1.5, [None], [], {"a": 1}):
        ((key, value, expected),) = problems(dataset, name=kind, root=str(root), subset=wrong)
        assert (key, value) == ("subset", wrong)
        assert "needs a name or a list of names" in expected


def test_image_transform_gets_a_pil_image_and_may_give_fields(root):
    def transform(image):
        assert isinstance(image, Image.Image)
        return {"image": np.asarray(image), "width": image.width}

    sample = dataset("image_folder", str(root), "val", transform)[0]
    assert set(sample) == {"image", "width", "target", "index"}
    assert sample["width"] == 6
