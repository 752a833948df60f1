"""The pixel cache: what it holds, and what becomes of it when builds meet or end half-way."""

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sesemi_like.data.cache.decode import Decode, decode_into_memory
from sesemi_like.data.cache.file import CacheKey, cache_key, open_cache
from sesemi_like.data.cache.folder import CacheFolder
from sesemi_like.data.cache.pixels import PixelCache


def key_of(count: int) -> CacheKey:
    """The key of a cache of so many files."""
    return cache_key(["settings"], map(str, range(count)))


def build(folder: Path, decode: Decode, count: int, **settings: Any) -> PixelCache:
    return CacheFolder(folder).open_or_build(key_of(count), decode, **settings)


SHAPES = [(4, 5, 3), (2, 2, 3), (7, 1, 3)]


def random_image(position: int) -> NDArray[Any] | None:
    if position == 5:
        return None
    generator = np.random.default_rng(position)
    return generator.integers(0, 256, SHAPES[position % 3], dtype=np.uint8)


def of_one_shape(position: int | np.int64) -> NDArray[Any]:
    return np.full((3, 2, 2), position % 256, np.uint8)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["disk", "ram"])
def test_it_holds_what_was_decoded(tmp_path: Path, kind: str, workers: int) -> None:
    count = 200
    cache = (
        build(tmp_path, random_image, count, workers=workers)
        if kind == "disk"
        else decode_into_memory(random_image, count, workers)
    )
    assert len(cache) == count
    assert not cache.is_one_shape
    for position in range(count):
        expected = random_image(position)
        found = cache[position]
        assert (found is None and expected is None) or np.array_equal(found, expected)


def test_images_of_one_shape_are_taken_at_once(tmp_path: Path) -> None:
    cache = build(tmp_path, of_one_shape, 150)
    assert cache.is_one_shape
    rows = np.array([140, 3, 3])
    assert np.array_equal(cache.take(rows), np.stack([of_one_shape(row) for row in rows]))


def test_memory_is_filled_in_several_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sesemi_like.data.cache.decode.CHUNK_BYTES", 1000)
    cache = decode_into_memory(of_one_shape, 300)
    assert len(cache.chunks) > 2
    assert all(np.array_equal(cache[p], of_one_shape(p)) for p in range(300))


def test_other_processes_can_be_handed_a_cache(tmp_path: Path) -> None:
    cache = build(tmp_path, of_one_shape, 5000)
    cache.take(np.arange(10))
    handed = pickle.dumps(cache.chunks)
    assert len(handed) < 1000  # the file's name, not its pixels
    again = PixelCache(pickle.loads(handed), cache.offsets, cache.shapes)
    assert np.array_equal(again[4999], of_one_shape(4999))


def test_a_file_cut_off_after_it_was_opened_is_reported(tmp_path: Path) -> None:
    cache = build(tmp_path, of_one_shape, 70)
    os.truncate(tmp_path / key_of(70).name / "pixels.bin", 100)
    with pytest.raises(OSError, match=r"pixels\.bin is shorter than its index says"):
        cache[69]


def test_it_is_built_once(tmp_path: Path) -> None:
    calls = []
    decode = lambda position: calls.append(position) or of_one_shape(position)  # noqa: E731
    for _ in range(2):
        build(tmp_path, decode, 70)
    assert len(calls) == 70
    CacheFolder(tmp_path).open_or_build(cache_key(["other"], map(str, range(70))), decode)
    assert len(calls) == 140


@pytest.mark.parametrize("name", ["pixels.bin", "index.npz"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_cache_is_detected_and_rebuilt(tmp_path: Path, name: str, damage: str) -> None:
    build(tmp_path, of_one_shape, 70)
    path = tmp_path / key_of(70).name / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[:-1])
    else:
        path.write_bytes(bytes(255 - b for b in content))
    assert open_cache(tmp_path / key_of(70).name, 70) is None
    cache = build(tmp_path, of_one_shape, 70)
    assert all(np.array_equal(cache[p], of_one_shape(p)) for p in range(70))


def test_progress_counts_each_image_once_and_a_cache_that_is_found_reports_none(
    tmp_path: Path,
) -> None:
    tasks: list[Any] = []
    completed: list[Any] = []

    @contextmanager
    def progress(task: Any, total: Any) -> Iterator[Any]:
        tasks.append((task, total))
        yield completed.append

    build(tmp_path, of_one_shape, 70, progress=progress)
    build(tmp_path, of_one_shape, 70, progress=progress)
    decode_into_memory(of_one_shape, 70, progress=progress)
    assert tasks == [("decoding 70 images once", 70)] * 2
    assert sum(completed) == 2 * 70


def test_a_cache_of_another_number_of_images_is_none(tmp_path: Path) -> None:
    build(tmp_path, of_one_shape, 70)
    assert open_cache(tmp_path / key_of(70).name, 71) is None


def test_a_failing_build_leaves_nothing(tmp_path: Path) -> None:
    def fails(position: int) -> NDArray[Any] | None:
        if position == 100:
            raise RuntimeError("gone")
        return of_one_shape(position)

    with pytest.raises(RuntimeError, match="gone"):
        build(tmp_path, fails, 150)
    assert [path.name for path in tmp_path.iterdir()] == ["caches.lock"]


SLOW_BUILD = """
    import sys, time
    import numpy as np
    from pathlib import Path
    from sesemi_like.data.cache.file import cache_key
    from sesemi_like.data.cache.folder import CacheFolder

    def decode(position):
        print("decoding", flush=True)
        time.sleep(float(sys.argv[2]))
        return np.full((3, 2, 2), position % 256, np.uint8)

    key = cache_key(["settings"], map(str, range(130)))
    cache = CacheFolder(Path(sys.argv[1])).open_or_build(key, decode)
    print("whole", int(cache[129][0, 0, 0]))
"""


def builder(folder: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(SLOW_BUILD), str(folder), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_build_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    process = builder(tmp_path, 0.05)
    assert process.stdout.readline() == "decoding\n"
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert list(tmp_path.glob("*.tmp-*"))
    assert open_cache(tmp_path / key_of(130).name, 130) is None
    cache = build(tmp_path, of_one_shape, 130)
    assert np.array_equal(cache[129], of_one_shape(129))
    assert not list(tmp_path.glob("*.tmp-*"))


def test_of_runs_that_build_at_once_one_decodes(tmp_path: Path) -> None:
    outputs = [process.communicate()[0] for process in [builder(tmp_path, 0.01) for _ in range(2)]]
    assert all(output.endswith("whole 129\n") for output in outputs)
    assert sorted(output.count("decoding") for output in outputs) == [0, 130]


def test_runs_that_build_at_once_get_along_where_files_cannot_be_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def refuse(file: Any, operation: int) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    other: list[PixelCache] = []
    unfinished = tmp_path / f"{key_of(130).name}.tmp-other"

    def decode(position: int) -> NDArray[Any]:
        if position == 100 and not other:  # another run is as far as this one, and then done
            unfinished.mkdir()
            other.append(build(tmp_path, of_one_shape, 130))
        return of_one_shape(position)

    cache = build(tmp_path, decode, 130)
    assert unfinished.exists()
    for found in (cache, *other):
        assert all(np.array_equal(found[p], of_one_shape(p)) for p in range(130))


def test_building_draws_no_random_numbers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    decode_into_memory(of_one_shape, 100, workers=1)
    build(tmp_path, of_one_shape, 100)
    assert torch.equal(torch.get_rng_state(), before)


def test_building_needs_no_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_full(storage: Any, *arguments: Any) -> None:
        raise RuntimeError("unable to write to file </torch_1>: No space left on device (28)")

    def raise_timeout(*arguments: Any) -> None:
        raise TimeoutError("the build waits for a batch that never comes")

    for name in ("_share_fd_cpu_", "_share_filename_cpu_"):
        monkeypatch.setattr(torch.UntypedStorage, name, raise_full)
    before = signal.signal(signal.SIGALRM, raise_timeout)
    signal.alarm(20)
    try:
        cache = build(tmp_path, of_one_shape, 130, workers=1)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert all(np.array_equal(cache[p], of_one_shape(p)) for p in range(130))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["disk", "ram"])
def test_building_holds_few_files_open(tmp_path: Path, kind: str) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    try:
        count = 64 * 300
        cache = (
            build(tmp_path, of_one_shape, count, workers=2)
            if kind == "disk"
            else decode_into_memory(of_one_shape, count, 2)
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert np.array_equal(cache[count - 1], of_one_shape(count - 1))


def test_a_key_stands_for_all_its_parts() -> None:
    parts: list[tuple[list[str], list[str]]] = [
        (["a", "b"], ["f", "g"]), (["ab"], ["f", "g"]), (["b", "a"], ["f", "g"]),
        (["a", "b", ""], ["f", "g"]), (["a", "b"], ["fg"]), (["a", "b"], ["g", "f"]),
    ]  # fmt: skip
    assert len({cache_key(*part).name for part in parts}) == 6
    assert cache_key(*parts[0]).name == cache_key(*map(iter, parts[0])).name
