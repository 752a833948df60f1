"""A reader with 60 images can follow each page: all its files are written, all its commands run."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from reader import FENCE, Reader
from sklearn.datasets import load_digits

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if any(language == "bash" for language, _ in FENCE.findall(page.read_text()))
]
CLASSES = ("cat", "dog", "horse")  # digits under these names: the content does not matter here
SIDE = 40


@pytest.fixture(scope="module")
def drawn() -> list[npt.NDArray[np.uint8]]:
    """Color images of digits (K, H, W, 3), by class."""
    content = load_digits()
    images = np.kron(content.images / 16 * 255, np.ones((1, SIDE // 8, SIDE // 8)))
    colors = np.stack([images, images // 2, 255 - images], axis=-1).astype(np.uint8)
    return [colors[content.target == target] for target in range(len(CLASSES))]


@pytest.fixture
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: list[npt.NDArray[np.uint8]]
) -> Iterator[Path]:
    """A folder laid out as the README says: 36 labeled and 24 unlabeled images, val, test."""
    images = tmp_path / "data" / "my_images"
    rows = ["path,label,split"]
    for name, content in zip(CLASSES, drawn, strict=True):
        kinds = {f"train/{name}": 12, f"val/{name}": 4, f"test/{name}": 4, "unlabeled": 8}
        shown = iter(content)
        for kind, count in kinds.items():
            (images / kind).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                path = images / kind / f"{name}-{number}.jpg"
                Image.fromarray(next(shown)).save(path)
                split, _, label = kind.partition("/")
                split = "train" if split == "unlabeled" else split
                rows.append(f"{path.relative_to(images)},{label},{split}")
    (images / "labels.csv").write_text("\n".join(rows) + "\n")
    for subset in ("train", "val"):  # for the page on new data sets
        values = np.random.default_rng(0).random((10, 1, 8, 8), dtype=np.float32)
        path = tmp_path / "data" / f"{subset}-v2.npz"
        np.savez(path, images=values, targets=np.arange(10) % 2)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [n for n, m in sys.modules.items() if _lies_in(m, tmp_path)]:
        del sys.modules[name]


def _lies_in(module: object, folder: Path) -> bool:
    return str(getattr(module, "__file__", None)).startswith(str(folder))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_reader_can_follow_the_page(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader(folder, monkeypatch)
    reader.follow(page)
    assert sum(map(len, reader.ran.values()))
