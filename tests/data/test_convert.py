"""The converter writes images of any data set, reports what it cannot, and destroys nothing."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from readers import indexed, sharded

from sesemi_like.data.convert import main, write_shards


def test_the_converter_writes_smaller_images_and_skips_broken_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    for name in ("a", "b"):
        (source / "x").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (90, 60), (200, 10, 10)).save(source / "x" / f"{name}.png")
    (source / "x" / "broken.png").write_bytes(b"no image")
    command = ["--name", "image_folder", "--root", str(source), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match=r"broken\.png cannot be read"):
        main([*command, "--side", "20"])
    assert not (tmp_path / "out" / "index.json").exists()
    main([*command, "--side", "20", "--skip-unreadable"])
    assert "2 samples in 1 shards" in capsys.readouterr().out
    found = list(sharded(str(tmp_path / "out")))
    assert [tuple(sample["image"].shape) for sample in found] == [(3, 20, 30)] * 2


def test_arrays_are_converted_without_loss(tmp_path: Path) -> None:
    digits = indexed("digits", subset="test")
    write_shards(digits, tmp_path, samples_per_shard=100)
    read = {s["image"][0].numpy().tobytes(): s["target"] for s in sharded(str(tmp_path))}
    for row in range(360):
        assert read[digits[row]["image"].numpy().tobytes()] == digits[row]["target"]


@pytest.fixture
def source(tmp_path: Path) -> Any:
    (tmp_path / "source" / "x").mkdir(parents=True)
    Image.new("RGB", (9, 6), (200, 10, 10)).save(tmp_path / "source" / "x" / "a.png")
    return tmp_path / "source"


@pytest.mark.parametrize("given", [("--samples-per-shard", "0"), ("--side", "-5"), ("--side", "x")])
def test_wrong_numbers_leave_shards_that_are_there_alone(
    source: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: tuple[str, str]
) -> None:
    command = ["--name", "image_folder", "--root", str(source), "--out", str(tmp_path / "out")]
    main(command)
    with pytest.raises(SystemExit):
        main([*command, *given])
    assert given[0] in capsys.readouterr().err
    assert len(list(sharded(str(tmp_path / "out")))) == 1
    with pytest.raises(ValueError, match="1 or more"):
        write_shards(indexed("image_folder", str(source)), tmp_path / "out", samples_per_shard=0)
    assert (tmp_path / "out" / "index.json").exists()


def test_a_folder_that_cannot_be_written_is_reported(source: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    with pytest.raises(SystemExit, match=r"--out: .* cannot be written"):
        main(["--name", "image_folder", "--root", str(source), "--out", str(out)])


def test_the_command_says_what_it_wrote_and_nothing_else(source: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sesemi_like.data.convert", "--name", "image_folder"]
    command += ["--root", str(source), "--out", str(tmp_path / "out")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("1 samples in 1 shards: ")
    assert answer.stderr == ""


@pytest.mark.parametrize("side", [None, 20])
def test_exif_orientation_is_applied_in_shards(tmp_path: Path, side: int | None) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a.jpg", "b.png", "c.webp"):
        (tmp_path / "source").mkdir(exist_ok=True)
        Image.new("RGB", (90, 60), (200, 10, 10)).save(tmp_path / "source" / name, exif=exif)
    write_shards(indexed("image_files", str(tmp_path / "source")), tmp_path / "out", side=side)
    shape = (3, 90, 60) if side is None else (3, 30, 20)
    assert [s["image"].shape for s in sharded(str(tmp_path / "out"))] == [shape] * 3
