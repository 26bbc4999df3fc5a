"""Files are replaced whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from searcher.artifacts import cache_folder, replacing, require_writable, write_text
from searcher.errors import BadInputError


def test_a_failure_inside_keeps_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail_halfway() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        fail_halfway()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "file", "text")
    (tmp_path / "other").write_text("text")
    assert os.stat(tmp_path / "new" / "file").st_mode == os.stat(tmp_path / "other").st_mode


def test_a_place_is_tried_without_a_trace(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    require_writable(tmp_path / "old", "table")
    require_writable(tmp_path / "new" / "file", "table")
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["new", "old"]
    assert (tmp_path / "old").read_text() == "old"


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place, reason in (
        (tmp_path, "it is a folder"),
        (tmp_path / "file" / "below", "exists"),
        (Path("/proc/file"), ""),
        (tmp_path / ("x" * 300), "too long"),
    ):
        with pytest.raises(BadInputError, match=f"cannot write the table .*: .*{reason}"):
            require_writable(place, "table")


def test_the_cache_goes_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFILER_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
