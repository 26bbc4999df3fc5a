"""Wheels for a device's Python: what fits, what is kept, and when pip is asked again."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from searcher.artifacts import sha256_of
from searcher.devices.survey import DeviceSystem, PythonUnfitError
from searcher.devices.wheels import FRESH_S, NoWheelsError, WheelCache, wheel_tags
from tests.fakes import BOARD
from tests.searcher.wheels import only_index, write_wheel

SYSTEM = TypeAdapter(DeviceSystem).validate_json(json.dumps(BOARD))
TAGS = wheel_tags(SYSTEM, "board")
NEEDED = ("runtime", "numpy")


class Clock:
    def __init__(self) -> None:
        self.now_s = 1e9

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = only_index(tmp_path / "index", monkeypatch)
    write_wheel(folder, "runtime", "1.0", "cp311-cp311-manylinux_2_28_aarch64")
    write_wheel(folder, "numpy", "2.0")
    return folder


def values(tags: list[str], option: str) -> list[str]:
    return [value for name, value in zip(tags[::2], tags[1::2], strict=True) if name == option]


def names(cache: WheelCache, requirements: tuple[str, ...] = NEEDED, tags: list[str] = TAGS) -> list[str]:
    return [wheel.name for wheel in cache.wheels(requirements, tags)]


class TestTags:
    def test_a_common_board_takes_all_back_to_the_oldest_glibc(self) -> None:
        platforms = values(TAGS, "--platform")
        assert platforms[0] == "manylinux_2_36_aarch64"
        assert platforms[-2:] == ["manylinux_2_17_aarch64", "manylinux2014_aarch64"]
        assert len(platforms) == 21
        assert values(TAGS, "--abi") == ["cp311", "abi3", "none"]
        assert values(TAGS, "--python-version") == ["3.11"]

    def test_a_python_without_a_global_lock_has_an_interface_of_its_own(self) -> None:
        tags = wheel_tags(replace(SYSTEM, version=(3, 13, 1), abi_flags="t"), "board")
        assert values(tags, "--abi") == ["cp313t", "none"]

    def test_a_glibc_between_two_releases_counts_as_the_earlier(self) -> None:
        tags = wheel_tags(replace(SYSTEM, libc_version="2.28.9000"), "board")
        assert values(tags, "--platform")[0] == "manylinux_2_28_aarch64"

    def test_a_device_that_claims_an_absurd_glibc_fills_no_memory(self) -> None:
        tags = wheel_tags(replace(SYSTEM, libc_version="2.99999999999"), "board")
        assert values(tags, "--platform")[0] == "manylinux_2_99_aarch64"

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"libc": "bionic", "libc_version": "24"}, "is Android's.*--runtime-from system"),
            ({"libc": "musl", "libc_version": ""}, "stands on musl.*use a system with glibc"),
            ({"libc": "", "libc_version": ""}, "is not of Linux with glibc"),
            ({"system": "Darwin", "libc": ""}, "is not of Linux with glibc"),
            ({"pointer_bits": 32}, "is a 32-bit program.*install a 64-bit system"),
            ({"implementation": "pypy"}, "is pypy, and wheels of runtimes are made for CPython"),
            ({"libc_version": "2.12"}, "glibc 2.12, which is too old"),
            ({"libc_version": ""}, "too old"),
        ],
    )
    def test_what_no_wheel_fits_is_one_sentence(self, changes: dict[str, object], sentence: str) -> None:
        with pytest.raises(PythonUnfitError, match=sentence) as caught:
            wheel_tags(replace(SYSTEM, **changes), "ssh://pi@board:22")  # type: ignore[arg-type]
        assert "ssh://pi@board:22" in str(caught.value)


class TestResolution:
    def test_the_newest_that_fits_without_its_dependencies(self, index: Path, tmp_path: Path) -> None:
        write_wheel(index, "runtime", "1.1", "cp311-cp311-manylinux2014_aarch64")
        write_wheel(index, "runtime", "1.2", "cp311-cp311-manylinux_2_38_aarch64")
        write_wheel(index, "runtime", "1.3", "cp312-cp312-manylinux2014_aarch64")
        write_wheel(index, "runtime", "1.4", "cp311-cp311-manylinux2014_x86_64")
        write_wheel(index, "runtime", "1.5", "cp311-cp311-musllinux_1_2_aarch64")
        write_wheel(index, "runtime", "1.6", requires_python=">=3.12")
        cache = WheelCache(tmp_path / "cache")
        found = cache.wheels(NEEDED, TAGS)
        assert [wheel.name for wheel in found] == [
            "runtime-1.1-cp311-cp311-manylinux2014_aarch64.whl",
            "numpy-2.0-py3-none-any.whl",
        ]
        for wheel in found:
            assert sha256_of(cache.path(wheel)) == sha256_of(index / wheel.name) == wheel.sha256

    def test_one_version_and_a_bound(self, index: Path, tmp_path: Path) -> None:
        write_wheel(index, "numpy", "1.26")
        write_wheel(index, "runtime", "1.1")
        assert names(WheelCache(tmp_path / "cache"), ("runtime==1.0", "numpy<2")) == [
            "runtime-1.0-cp311-cp311-manylinux_2_28_aarch64.whl",
            "numpy-1.26-py3-none-any.whl",
        ]

    def test_what_was_found_counts_for_a_day(self, index: Path, tmp_path: Path) -> None:
        clock = Clock()
        cache = WheelCache(tmp_path / "cache", clock)
        first = names(cache)
        newer = write_wheel(index, "runtime", "1.1").name
        clock.now_s += FRESH_S - 1
        assert names(cache) == first
        clock.now_s += 2
        assert names(cache) == [newer, "numpy-2.0-py3-none-any.whl"]
        # A clock that is set back makes nothing good for ever.
        newest = write_wheel(index, "runtime", "1.2").name
        clock.now_s -= 1000 * FRESH_S
        assert names(cache)[0] == newest

    def test_other_pythons_and_requirements_are_other_questions(self, index: Path, tmp_path: Path) -> None:
        cache = WheelCache(tmp_path / "cache")
        first = names(cache)
        write_wheel(index, "runtime", "1.1")
        x86 = wheel_tags(replace(SYSTEM, machine="x86_64"), "board")
        assert names(cache, tags=x86)[0] == names(cache, ("runtime<2", "numpy"))[0] == "runtime-1.1-py3-none-any.whl"
        assert names(cache) == first

    def test_the_version_that_was_found_is_known_by_itself(self, index: Path, tmp_path: Path) -> None:
        cache = WheelCache(tmp_path / "cache")
        first = names(cache)
        for file in index.iterdir():
            file.unlink()
        assert names(cache, ("runtime==1.0", "numpy")) == first
        with pytest.raises(NoWheelsError):
            names(cache, ("runtime==1.1", "numpy"))

    def test_without_a_network_what_there_is_goes_on_being_used(self, index: Path, tmp_path: Path) -> None:
        clock = Clock()
        cache = WheelCache(tmp_path / "cache", clock)
        first = names(cache)
        for file in index.iterdir():
            file.unlink()
        clock.now_s += 30 * FRESH_S
        assert names(cache) == first
        write_wheel(index, "runtime", "1.1")
        write_wheel(index, "numpy", "2.1")
        assert names(cache) == first
        clock.now_s += FRESH_S / 24
        assert names(cache) == ["runtime-1.1-py3-none-any.whl", "numpy-2.1-py3-none-any.whl"]

    @pytest.mark.parametrize("damage", ["wheel", "missing wheel", "list"])
    def test_what_is_damaged_is_fetched_again(self, index: Path, tmp_path: Path, damage: str) -> None:
        cache = WheelCache(tmp_path / "cache")
        found = cache.wheels(NEEDED, TAGS)
        if damage == "wheel":
            cache.path(found[0]).write_bytes(b"half of")
        elif damage == "missing wheel":
            cache.path(found[0]).unlink()
        else:
            for document in (tmp_path / "cache").glob("*.json"):
                document.write_text("{")
        assert cache.wheels(NEEDED, TAGS) == found
        assert sha256_of(cache.path(found[0])) == found[0].sha256

    def test_nothing_that_fits_is_one_sentence_and_leaves_nothing(self, index: Path, tmp_path: Path) -> None:
        with pytest.raises(NoWheelsError, match="no wheel of absent fits the device's Python") as caught:
            WheelCache(tmp_path / "cache").wheels(("numpy", "absent"), TAGS)
        assert "\n" not in str(caught.value)
        assert not list((tmp_path / "cache").glob("*.json"))
        assert not list((tmp_path / "cache").glob(".new-*"))

    def test_an_index_that_cannot_be_reached_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        monkeypatch.delenv("PIP_NO_INDEX", raising=False)
        monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
        # Nothing listens on the discard port.
        monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
        with pytest.raises(NoWheelsError, match="the package index cannot be reached, so numpy cannot be brought"):
            WheelCache(tmp_path / "cache").wheels(("numpy",), TAGS)

    @pytest.mark.parametrize(
        ("errors", "sentence"),
        [
            ("/usr/bin/python: No module named pip\n", "has no pip, which downloads runtimes: give it one with"),
            ("WARNING: slow\nERROR: the disk is full\n", "pip cannot download numpy: the disk is full"),
            ("", "pip cannot download numpy: it gave no reason"),
        ],
    )
    def test_other_failures_of_pip_are_one_sentence(
        self, errors: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(command: Iterable[str], **_: object) -> subprocess.CompletedProcess[str]:
            return subprocess.CompletedProcess(list(command), 1, "", errors)

        monkeypatch.setattr(subprocess, "run", fail)
        with pytest.raises(NoWheelsError, match=sentence):
            WheelCache(tmp_path / "cache").wheels(("numpy",), TAGS)

    def test_a_cache_that_cannot_be_written_is_one_sentence(self, index: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(NoWheelsError, match="cannot keep wheels in"):
            WheelCache(tmp_path / "file").wheels(NEEDED, TAGS)


def test_boards_that_need_the_same_at_once_wait_for_one_download(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, calls = subprocess.run, []

    def counted(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
        calls.append(threading.current_thread().name)
        return run(*arguments, **options)

    monkeypatch.setattr(subprocess, "run", counted)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: names(WheelCache(tmp_path / "cache")), range(4)))
    assert found == [found[0]] * 4
    assert len(calls) == 1
