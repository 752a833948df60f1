"""The folder of caches: bounded in size, unchanged images are copied, caches in use stay."""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
import textwrap
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sesemi_like.data.cache.file import CacheKey, cache_key
from sesemi_like.data.cache.folder import CacheFolder
from sesemi_like.data.cache.pixels import PixelCache, Pixels

SIZE = 1000
Usage = namedtuple("Usage", "free")


def pixels_of(file: str) -> Pixels:
    """The pixels of a file that is named by a number and a version: 1000 bytes."""
    return np.random.default_rng(list(file.encode())).integers(0, 256, (10, 20, 5), np.uint8)


def key_of(files: Sequence[str], settings: str = "settings") -> CacheKey:
    return cache_key([settings], files)


def build(
    folder: CacheFolder, files: Sequence[str], settings: str = "settings", **options: Any
) -> tuple[PixelCache, list[str]]:
    """Opens or builds a cache; returns it and the files that were decoded."""
    decoded: list[str] = []

    def decode(row: int) -> Pixels:
        decoded.append(files[row])
        return pixels_of(files[row])

    cache = folder.open_or_build(key_of(files, settings), decode, size=SIZE * len(files), **options)
    return cache, decoded


def assert_holds(cache: PixelCache, files: Sequence[str]) -> None:
    assert len(cache) == len(files)
    for row, file in enumerate(files):
        assert np.array_equal(cache[row], pixels_of(file))


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir()}


FILES = [f"{number} v1" for number in range(200)]


def with_changes(files: Sequence[str]) -> list[str]:
    return [*files[:70], "70 v2", *files[71:]]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (with_changes, ["70 v2"]),
        (lambda files: [*files, "new"], ["new"]),
        (lambda files: files[30:], []),
        (lambda files: files[::-1], []),
        (lambda files: [*files[50:60], "new", *files[10:90:2]], ["new"]),
        (lambda files: [files[3], files[3], "new", files[3]], ["new"]),
        (lambda files: ["new", "newer"], ["new", "newer"]),
    ],
)
def test_images_of_unchanged_files_are_copied(
    tmp_path: Path, change: Callable[[Sequence[str]], list[str]], expected: list[str]
) -> None:
    folder = CacheFolder(tmp_path)
    build(folder, FILES)
    files = change(FILES)
    cache, decoded = build(folder, files)
    assert decoded == expected
    assert_holds(cache, files)
    again, decoded = build(folder, files)
    assert decoded == []
    assert_holds(again, files)


def test_a_cache_that_was_copied_holds_what_a_fresh_one_does(tmp_path: Path) -> None:
    build(CacheFolder(tmp_path / "a"), FILES)
    copied, _ = build(CacheFolder(tmp_path / "a"), with_changes(FILES))
    fresh, decoded = build(CacheFolder(tmp_path / "b"), with_changes(FILES))
    assert len(decoded) == len(FILES)
    assert np.array_equal(copied.shapes, fresh.shapes)
    rows = np.arange(len(FILES))
    assert np.array_equal(copied.take(rows), fresh.take(rows))


def test_images_are_copied_from_several_caches(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path)
    build(folder, FILES[:50])
    build(folder, FILES[40:90])
    cache, decoded = build(folder, FILES[:100])
    assert decoded == FILES[90:100]
    assert_holds(cache, FILES[:100])


def test_images_decoded_by_other_settings_are_not_copied(tmp_path: Path) -> None:
    build(CacheFolder(tmp_path), FILES, "other")
    _, decoded = build(CacheFolder(tmp_path), FILES)
    assert decoded == FILES


def test_damaged_images_are_decoded_and_not_copied(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path)
    build(folder, FILES)
    with (tmp_path / key_of(FILES).name / "pixels.bin").open("r+b") as file:
        file.seek(102 * SIZE)  # not among those that are compared when it is opened
        file.write(b"damage")
    cache, decoded = build(folder, with_changes(FILES))
    assert decoded == ["70 v2", FILES[102]]
    assert_holds(cache, with_changes(FILES))


def test_images_that_could_not_be_read_are_tried_again(tmp_path: Path) -> None:
    """They may be readable by now: permissions change no file's size or time."""
    folder = CacheFolder(tmp_path)
    unreadable = folder.open_or_build(key_of(FILES[:4]), lambda row: None)
    assert unreadable[2] is None
    cache, decoded = build(folder, [*FILES[:4], "new"])
    assert decoded == [*FILES[:4], "new"]
    assert_holds(cache, [*FILES[:4], "new"])


def test_the_least_recently_used_cache_is_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    folder = CacheFolder(tmp_path, limit=4 * 50 * SIZE)
    names = {}
    for number, settings in enumerate("abc"):
        build(folder, FILES[:50], settings)
        names[settings] = key_of(FILES[:50], settings).name
        os.utime(tmp_path / names[settings] / "index.npz", (number, number))
    build(folder, FILES[:50], "a")  # which is used now
    build(folder, FILES[:50], "d")
    assert names_in(tmp_path) == {names["a"], names["c"], key_of(FILES[:50], "d").name}
    assert f"removing the cache {tmp_path / names['b']}" in caplog.text
    assert not list(tmp_path.glob(f"{names['b']}*"))
    assert sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file()) <= 4 * 50 * SIZE


def test_a_cache_that_gives_images_to_another_does_not_count_while_it_is_built(
    tmp_path: Path,
) -> None:
    folder = CacheFolder(tmp_path, limit=300 * SIZE)
    build(folder, FILES)
    cache, decoded = build(folder, with_changes(FILES))
    assert decoded == ["70 v2"]
    assert names_in(tmp_path) == {key_of(with_changes(FILES)).name}
    assert_holds(cache, with_changes(FILES))


USER = """
    import sys
    import numpy as np
    from pathlib import Path
    from sesemi_like.data.cache.file import cache_key
    from sesemi_like.data.cache.folder import CacheFolder

    def decode(row):
        raise AssertionError("it is there")

    files = [f"{number} v1" for number in range(200)]
    cache = CacheFolder(Path(sys.argv[1])).open_or_build(cache_key(["settings"], files), decode)
    print("open", flush=True)
    sys.stdin.readline()
    print(cache[199].sum())
"""


def start_user(folder: Path) -> subprocess.Popen[str]:
    """Starts a process that opens a cache and reads from it after a line on standard input."""
    command = [sys.executable, "-c", textwrap.dedent(USER), str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def test_a_cache_in_use_by_a_process_is_not_removed(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, limit=300 * SIZE)
    build(folder, FILES)
    process = start_user(tmp_path)
    with pytest.raises(OSError, match=r"are in use, exceed the .* that run\.cache_limit allows"):
        build(folder, FILES, "other")
    build(folder, FILES, "other", is_bounded=False)
    assert key_of(FILES).name in names_in(tmp_path)
    output, _ = process.communicate("\n")
    assert output == f"{pixels_of(FILES[199]).sum()}\n"
    build(folder, FILES, "another")  # the process has ended
    assert names_in(tmp_path) == {key_of(FILES, "another").name}


def test_a_cache_in_use_by_a_killed_process_is_removed(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, limit=300 * SIZE)
    build(folder, FILES)
    process = start_user(tmp_path)
    process.kill()
    process.communicate()
    build(folder, FILES, "other")
    assert names_in(tmp_path) == {key_of(FILES, "other").name}


def test_nothing_is_removed_where_files_cannot_be_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    folder = CacheFolder(tmp_path, limit=300 * SIZE)
    for settings in ("a", "b"):
        cache, _ = build(folder, FILES, settings)
        assert_holds(cache, FILES)
    assert names_in(tmp_path) == {key_of(FILES, settings).name for settings in ("a", "b")}
    assert not list(tmp_path.rglob("in-use-*"))


def test_a_cache_that_another_run_has_finished_meanwhile_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, folder, first = FILES[:5], CacheFolder(tmp_path), list[PixelCache]()

    @contextmanager
    def without_locks(path: Path) -> Iterator[bool]:
        if path.name == "caches.lock" and not first:
            first.append(PixelCache([], np.empty((0, 2), np.int64), np.empty((0, 3), np.int64)))
            first[0] = build(folder, files)[0]
        yield False

    monkeypatch.setattr("sesemi_like.data.cache.folder.locked", without_locks)
    second, decoded = build(folder, files)
    assert not decoded
    assert_holds(first[0], files)
    assert_holds(second, files)


def test_nothing_is_removed_for_a_cache_that_does_not_fit_anyway(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, limit=150 * SIZE)
    build(folder, FILES[:100])
    with pytest.raises(OSError, match=r"run\.cache_limit"):
        build(folder, FILES, "other")
    assert names_in(tmp_path) == {key_of(FILES[:100]).name}


def test_caches_of_earlier_versions_are_removed_by_age_and_other_files_are_not(
    tmp_path: Path,
) -> None:
    old, foreign = tmp_path / ("0" * 32), tmp_path / ("1" * 32)
    for path in (old, foreign):
        path.mkdir()
        for name in ("pixels.bin", "index.npz"):
            (path / name).write_bytes(b"x" * 100 * SIZE)
    (foreign / "thesis.txt").write_text("mine")
    (tmp_path / f"{'0' * 32}.lock").touch()
    (tmp_path / "my images").mkdir()
    build(CacheFolder(tmp_path, limit=300 * SIZE), FILES)
    assert names_in(tmp_path) == {foreign.name, "my images", key_of(FILES).name}
    assert not (tmp_path / f"{'0' * 32}.lock").exists()


def test_builds_that_were_killed_are_removed_whatever_their_key(tmp_path: Path) -> None:
    unfinished = tmp_path / f"{key_of(FILES, 'other').name}.tmp-x"
    foreign = tmp_path / "notes.tmp-x"
    for path in (unfinished, foreign):
        path.mkdir()
        (path / "pixels.bin").write_bytes(b"half")
    build(CacheFolder(tmp_path), FILES)
    assert not unfinished.exists()
    assert foreign.exists()


def test_the_default_limit_is_a_tenth_of_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(CacheFolder(tmp_path), FILES)
    (kept,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    size = sum(file.stat().st_size for file in kept.iterdir())
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10 * SIZE))
    assert CacheFolder(tmp_path).bytes_allowed == (10 * SIZE + size) // 10
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**15))
    assert CacheFolder(tmp_path).bytes_allowed == 50 * 10**9
    assert CacheFolder(tmp_path, limit=7).bytes_allowed == 7


def test_a_folder_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    build(CacheFolder(tmp_path), FILES)
    script = """
        import os, sys
        from pathlib import Path
        from sesemi_like.data.cache.file import cache_key
        from sesemi_like.data.cache.folder import CacheFolder
        from sesemi_like import locks

        def refuse(*arguments, **settings):
            raise PermissionError("read-only")

        read_only = os.open
        os.open = lambda path, flags, *rest, **k: (
            refuse() if flags & (os.O_RDWR | os.O_CREAT | os.O_WRONLY)
            else read_only(path, flags, *rest, **k)
        )
        os.utime = os.mkdir = refuse
        files = [f"{number} v1" for number in range(200)]
        cache = CacheFolder(Path(sys.argv[1])).open_or_build(cache_key(["settings"], files), refuse)
        print(cache[7].sum())
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == f"{pixels_of(FILES[7]).sum()}\n", done.stderr
