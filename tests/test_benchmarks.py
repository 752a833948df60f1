"""Benchmarks import their peers on any machine."""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def test_packages_that_the_peer_never_calls_are_replaced_by_stubs_even_if_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra `bench` installs a torchaudio that cannot be imported with this torch."""
    contents = {"torchaudio": "raise RuntimeError('built for another CUDA')",
                "semilearn": "import torchaudio, skimage.util\nname = 'peer'"}  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(BENCHMARKS)
    peers = importlib.import_module("peers")
    for name in ("semilearn", "peers", *peers.UNUSED):
        monkeypatch.delitem(sys.modules, name, raising=False)
    before = dict(sys.modules)
    try:
        assert peers.import_semilearn().name == "peer"
    finally:
        for name in set(sys.modules) - set(before):
            del sys.modules[name]
