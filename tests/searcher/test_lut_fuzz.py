"""Readers of the project's own documents and of foreign files: whatever they are given, one sentence comes out."""

from __future__ import annotations

import copy
import csv
import functools
import gzip
import io
import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler_agent.records import Settings
from searcher.artifacts import ExportedModel
from searcher.documents import Document
from searcher.errors import SearcherError
from searcher.search.candidate import SEARCH_DOCUMENT, GenerationRecord, SearchResult
from searcher.search.limits import Limit
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.flat import export_table
from searcher.tables.foreign.importing import FORMATS, ImportRequest, import_file
from searcher.tables.journal import journal_path
from searcher.tables.lookup_table import TABLE_DOCUMENT
from searcher.tables.network_latencies import NETWORKS_DOCUMENT, NetworkLatencies, NetworkLatency
from searcher.tables.plan import PLAN_DOCUMENT, Plan
from searcher.tables.recompute import recompute
from searcher.tables.validate import validate_table
from searcher.verification.verification import VERIFICATION_DOCUMENT, MeasuredDevice, Verdict, Verification
from tests.searcher.builders import KEY, table
from tests.searcher.measured_tables import measured_table
from tests.searcher.search_parts import candidate
from tests.searcher.test_hw_nas_bench import benchmark

SPACE = NasBench201()
CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
YAML = (
    "Conv-input:224x224x3-output:112x112x32: {count: 51, mean: 1.25}\nLogits-input:7x7x320-output:1000: {mean: 1.5}\n"
)
NETWORKS = f"architecture,raspi4_ms,pixel3_ms\n{CELL},10.5,3\n"
QUICK = settings(max_examples=60)
LONG = settings(max_examples=3000)


def documents() -> dict[str, tuple[Any, Any]]:
    found = candidate(CELL, 1.0, 1.0, key="key")
    verdict = Verdict(CELL, 1.0, 1.0, (0.9, 1.1), 0.96, 0.0, True)
    model = ExportedModel("block", Path("/cache/block.onnx"), "00", 0.25)
    small = table(SPACE, lambda _block: 1.0)
    return {
        "table": (TABLE_DOCUMENT, replace(small, entries=dict(list(small.entries.items())[:2]))),
        "networks": (
            NETWORKS_DOCUMENT,
            NetworkLatencies("nasbench201", "pi", "now", "a.csv", None, {CELL: NetworkLatency(1.0, (0.9, 1.1))}),
        ),
        "plan": (PLAN_DOCUMENT, Plan("job", "nasbench201", "local", (model,), Settings(), 60.0, {"torch": "2"}, None)),
        "search": (
            SEARCH_DOCUMENT,
            SearchResult(
                *("nasbench201", 5, 1, KEY, (Limit("latency", 25.0),), "rmi", "deb", {}),
                *((found,), (CELL,), (GenerationRecord(0, 1.0, CELL, 1, 1.0),)),
            ),
        ),
        "verification": (
            VERIFICATION_DOCUMENT,
            Verification(MeasuredDevice("pi", "x"), "onnxruntime", 25.0, (verdict,), verdict, verdict, None),
        ),
    }


DOCUMENTS = documents()
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["NaN", "1e999", "\x1b[2J", "../../x", "\ud800", "\udcff", CELL]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(plain: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in nested data, as its container and its key there."""
    for key in list(plain) if isinstance(plain, dict) else range(len(plain)) if isinstance(plain, list) else ():
        yield plain, key
        yield from places(plain[key])


def mutated(plain: Any, draw: Callable[[st.SearchStrategy[Any]], Any]) -> Any:
    """Change, remove or double some places of nested data."""
    plain = copy.deepcopy(plain)
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(plain))
        if not found:
            return draw(anything)
        container, key = draw(st.sampled_from(found))
        action = draw(st.sampled_from(["change", "remove", "double"]))
        if action == "change":
            container[key] = draw(anything)
        elif action == "remove":
            del container[key]
        elif isinstance(container, list):
            container.append(container[key])
        else:
            container[f"{key} more"] = container[key]
    return plain


def damaged(content: bytes, draw: Callable[[st.SearchStrategy[Any]], Any]) -> bytes:
    """Cut a file off, or change, remove or repeat some of its bytes."""
    spoiled = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(0, len(spoiled) - 1)))
        end = min(len(spoiled), start + draw(st.integers(1, 30)))
        action = draw(st.sampled_from(["cut", "change", "remove", "repeat"]))
        if action == "cut":
            del spoiled[start:]
        elif action == "change":
            spoiled[start:end] = draw(st.binary(max_size=end - start + 2))
        elif action == "remove":
            del spoiled[start:end]
        else:
            spoiled[end:end] = spoiled[start:end]
    return bytes(spoiled)


def attempt(read: Callable[[], Any]) -> Any:
    """Return what was read, or None where it was refused as it should be: by one sentence of the project's own."""
    try:
        return read()
    except SearcherError as e:
        said = str(e)
        assert said
        assert "\n" not in said
        assert len(said) < 1500
        return None


@dataclass(frozen=True)
class Ground:
    """A folder of a test's own, in which nothing may appear but what the test writes."""

    folder: Path

    def read(self, content: bytes, name: str, read: Callable[[Path], Any]) -> Any:
        path = self.folder / name
        path.write_bytes(content)
        try:
            return attempt(lambda: read(path))
        finally:
            assert [one.name for one in self.folder.iterdir()] == [name]
            path.unlink()


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("ground")
        patch.chdir(folder)
        yield Ground(folder)


def check_document(ground: Ground, name: str, content: bytes) -> None:
    document, _ = DOCUMENTS[name]
    read = ground.read(content, "a.json", document.load)
    if read is not None:
        # What is accepted can be written, and is the same when read again.
        document.save(read, ground.folder / "again.json")
        assert document.load(ground.folder / "again.json") == read
        (ground.folder / "again.json").unlink()
    if name == "table":
        ground.read(content, "a.json", validate_table)


def import_request(request: ImportRequest, path: Path) -> Any:
    return import_file(replace(request, path=path))


def check_import(ground: Ground, format_name: str, content: bytes, **choices: str) -> None:
    request = ImportRequest(ground.folder / "a.pickle", format_name, "now", **choices)
    made = ground.read(content, "a.pickle", functools.partial(import_request, request))
    if made is not None:
        document: Document[Any] = NETWORKS_DOCUMENT if isinstance(made, NetworkLatencies) else TABLE_DOCUMENT
        assert document.parse(document.text(made), "again") == made


def foreign(tmp_path: Path) -> dict[str, tuple[bytes, dict[str, str]]]:
    export_table(DOCUMENTS["table"][1], tmp_path / "rows.csv")
    return {
        "csv": ((tmp_path / "rows.csv").read_bytes(), {}),
        "networks-csv": (NETWORKS.encode(), {"column": "raspi4_ms"}),
        "mobile-yaml": (YAML.encode(), {}),
        "hw-nas-bench": (pickle.dumps(benchmark(np.arange(1.0, 6.0)), 4), {"column": "raspi4"}),
    }


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, dict[str, str]]]:
    return foreign(tmp_path_factory.mktemp("valid"))


def test_what_the_fuzzing_begins_with_is_valid(ground: Ground, valid: dict[str, tuple[bytes, dict[str, str]]]) -> None:
    for document, content in DOCUMENTS.values():
        assert document.parse(document.text(content), "itself") == content
    assert set(valid) == set(FORMATS)
    for format_name, (content, choices) in valid.items():
        request = ImportRequest(ground.folder / "a.pickle", format_name, "now", **choices)
        assert ground.read(content, "a.pickle", functools.partial(import_request, request)) is not None


# Each property twice: some examples with every run of the tests, many in the long campaign.


def own_bytes(ground: Ground, name: str, data: st.DataObject) -> None:
    check_document(ground, name, data.draw(st.binary(max_size=200)))


def own_damage(ground: Ground, name: str, data: st.DataObject) -> None:
    document, content = DOCUMENTS[name]
    check_document(ground, name, damaged(document.text(content).encode(), data.draw))


def own_structure(ground: Ground, name: str, data: st.DataObject) -> None:
    document, content = DOCUMENTS[name]
    plain = mutated(json.loads(document.text(content)), data.draw)
    check_document(ground, name, json.dumps(plain).encode())


OWN = [own_bytes, own_damage, own_structure]


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("property_of", OWN)
@QUICK
@given(data=st.data())
def test_own_documents(ground: Ground, name: str, property_of: Callable[..., None], data: st.DataObject) -> None:
    property_of(ground, name, data)


@pytest.mark.slow
@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("property_of", OWN)
@LONG
@given(data=st.data())
def test_own_documents_at_length(
    ground: Ground, name: str, property_of: Callable[..., None], data: st.DataObject
) -> None:
    property_of(ground, name, data)


Valid = dict[str, tuple[bytes, dict[str, str]]]


def foreign_bytes(ground: Ground, valid: Valid, name: str, data: st.DataObject) -> None:
    content = data.draw(st.binary(max_size=200))
    check_import(ground, name, content, **valid[name][1])
    check_import(ground, name, gzip.compress(content), **valid[name][1])


def foreign_damage(ground: Ground, valid: Valid, name: str, data: st.DataObject) -> None:
    content, choices = valid[name]
    packed = data.draw(st.sampled_from(["no", "damaged inside", "damaged outside"]))
    if packed == "damaged outside":
        check_import(ground, name, damaged(gzip.compress(content), data.draw), **choices)
    else:
        spoiled = damaged(content, data.draw)
        check_import(ground, name, gzip.compress(spoiled) if packed != "no" else spoiled, **choices)


def foreign_structure(ground: Ground, valid: Valid, name: str, data: st.DataObject) -> None:
    content, choices = valid[name]
    if name == "hw-nas-bench":
        plain = mutated(benchmark([1.0, 2.0, 3.0, 4.0, 5.0]), data.draw)
        choices = data.draw(st.sampled_from([choices, {**choices, "space": "fbnet"}]))
        check_import(ground, name, pickle.dumps(plain, data.draw(st.integers(0, 5))), **choices)
    elif name == "mobile-yaml":
        plain = {"a": {"mean": 1.5, "count": 2}, "Conv-input:1x1x1-output:1": {"median": 1.0}}
        # JSON is YAML.
        check_import(ground, name, json.dumps(mutated(plain, data.draw)).encode(), **choices)
    else:
        rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
        text = io.StringIO()
        changed = mutated(rows, data.draw)
        for row in changed if isinstance(changed, list) else [changed]:
            csv.writer(text).writerow(row if isinstance(row, list) else [row])
        check_import(ground, name, text.getvalue().encode("utf-8", "replace"), **choices)


FOREIGN = [foreign_bytes, foreign_damage, foreign_structure]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("property_of", FOREIGN)
@QUICK
@given(data=st.data())
def test_foreign_files(
    ground: Ground, valid: Valid, name: str, property_of: Callable[..., None], data: st.DataObject
) -> None:
    property_of(ground, valid, name, data)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("property_of", FOREIGN)
@LONG
@given(data=st.data())
def test_foreign_files_at_length(
    ground: Ground, valid: Valid, name: str, property_of: Callable[..., None], data: st.DataObject
) -> None:
    property_of(ground, valid, name, data)


@pytest.fixture(scope="module")
def journalled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("journalled") / "table.json"
    measured_table(path)
    return path


@QUICK
@given(data=st.data())
def test_a_journal_of_any_bytes_is_a_finding(journalled: Path, data: st.DataObject) -> None:
    journal, made = journal_path(journalled), TABLE_DOCUMENT.load(journalled)
    whole = journal.read_bytes()
    try:
        journal.write_bytes(damaged(whole, data.draw))
        attempt(lambda: recompute(made, journal))
        assert validate_table(journalled).failed or journal.read_bytes() == whole
    finally:
        journal.write_bytes(whole)
