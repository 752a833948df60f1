"""Files of weights: what is read from each format, and the reasons when one cannot be read."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from sesemi_like.models.weights import UnreadableWeightsError, read_weights

STATE = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.ones(2)}


class Unknown:
    """A class whose objects no file of weights may hold."""


def assert_read(path: str | Path) -> None:
    tensors = read_weights(path).tensors
    assert tensors.keys() == STATE.keys()
    for name, expected in STATE.items():
        assert torch.equal(tensors[name], expected)


@pytest.mark.parametrize("suffix", ["pt", "pth", "ckpt"])
@pytest.mark.parametrize("container", [None, "state_dict", "model"])
def test_state_dicts_are_found_alone_and_in_containers(
    tmp_path: Path, suffix: str, container: str | None
) -> None:
    content = STATE if container is None else {container: STATE, "epoch": 3}
    torch.save(content, path := tmp_path / f"weights.{suffix}")
    assert_read(path)
    assert_read(str(path))
    assert read_weights(path).content.keys() == content.keys()


def test_safetensors_files_are_read(tmp_path: Path) -> None:
    save_file(STATE, path := tmp_path / "weights.safetensors")
    assert_read(path)


def test_values_other_than_tensors_are_no_weights(tmp_path: Path) -> None:
    torch.save({**STATE, "epoch": 3}, path := tmp_path / "weights.pt")
    assert_read(path)
    torch.save({"epoch": 3}, path)
    assert read_weights(path).tensors == {}


def write_truncated(path: Path) -> None:
    torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize(
    ("name", "write", "reason"),
    [
        ("a.pt", lambda path: None, "No such file"),
        ("a.safetensors", lambda path: None, "No such file"),
        ("a.pt", lambda path: path.mkdir(), "Is a directory"),
        ("a.pt", lambda path: path.write_bytes(b""), "the file is empty"),
        ("a.safetensors", lambda path: path.write_bytes(b""), "the file is empty"),
        ("a.pt", lambda path: path.write_bytes(b"text"), "torch.save did not write it"),
        ("a.safetensors", lambda path: path.write_bytes(b"text"), "it is no safetensors file"),
        ("a.ckpt", write_truncated, "damaged or truncated"),
        ("a.pt", lambda path: torch.save([1], path), "it holds a list instead of a state dict"),
        ("a.pt", lambda path: torch.save({"x": Unknown()}, path), r"it holds objects \(.*Unknown"),
        ("a.pt", lambda path: path.write_bytes(pickle.dumps(Unknown())), "torch.save did not"),
    ],
)
def test_the_reason_names_what_is_wrong(tmp_path: Path, name: str, write: Any, reason: str) -> None:
    write(path := tmp_path / name)
    with pytest.raises(UnreadableWeightsError, match=reason):
        read_weights(path)
