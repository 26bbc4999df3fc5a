"""Files that cannot be measured end in one sentence, and those beside them are measured all the same."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from profiler_agent.errors import SessionError
from profiler_agent.records import Failed, Measured, parse_event
from profiler_agent.runtimes.inputs import input_shape
from profiler_agent.runtimes.onnx_files import has_rank
from profiler_agent.runtimes.onnx_graph import operator_names
from profiler_agent.runtimes.tflite_check import check_structure
from tests.agent import bad_models, models, tflite_models
from tests.agent.mutations import answers, assert_sentence, counted, good_files, mutated, write_files
from tests.agent.test_command import QUICK, agent, assert_one_sentence

RELU, CUSTOM = schema.BuiltinOperator.RELU, schema.BuiltinOperator.CUSTOM
SEEDS = st.integers(0, 2**32)
Write = Callable[[Path], Path]


def mutants(suffix: str, count: int, seed: int) -> list[bytes]:
    generator = random.Random(seed)
    with TemporaryDirectory() as folder:
        good = good_files(Path(folder), suffix)
    return [mutated(generator.choice(good), generator) for _ in range(count)]


@pytest.mark.parametrize(
    ("name", "write", "part"),
    [
        ("m.onnx", bad_models.write_onnx_of_unknown_operator, "nobody:Foo(-1) is not a registered"),
        ("m.onnx", bad_models.write_onnx_without_its_data, "gone.data"),
        ("m.onnx", lambda path: models.write_identity(path, (1, 3, 16384, 16384)), "takes 3.0 GiB: more than"),
        ("m.onnx", lambda path: models.write_identity(path, (1, 0, 3)), "has the shape [1, 0, 3]: an empty one"),
        ("m.onnx", lambda path: models.write_identity(path, (1,) * 40), "has 40 dimensions, more than 32"),
        ("m.onnx", tflite_models.write_gather, "cannot load m.onnx"),
        ("m.tflite", models.write_identity, "m.tflite is no TFLite file"),
        ("m.tflite", lambda path: bad_models.write_tflite(path, CUSTOM, (1,), "Foo"), "unresolved custom op: Foo"),
        ("m.tflite", lambda path: bad_models.write_tflite(path, RELU, (1, 3, 16384, 16384)), "takes 3.0 GiB: more"),
        ("m.tflite", lambda path: bad_models.write_tflite(path, RELU, (1, 0)), "has the shape [1, 0]: an empty one"),
    ],
)
def test_a_model_that_cannot_be_measured_is_one_sentence(name: str, write: Write, part: str, tmp_path: Path) -> None:
    assert_one_sentence(agent("measure", write(tmp_path / name), *QUICK), 2, part)


def test_a_given_shape_of_3_gib_is_one_sentence(tmp_path: Path) -> None:
    model = models.write_identity(tmp_path / "m.onnx", ("n", 3, "h", "w"))
    result = agent("measure", model, "--shape", "x=1x3x16384x16384", *QUICK)
    assert_one_sentence(result, 2, "input 'x' of shape [1, 3, 16384, 16384] takes 3.0 GiB: more than")


def test_an_input_without_rank_is_dynamic_and_a_scalar_is_not(tmp_path: Path) -> None:
    identity = helper.make_node("Identity", ["x"], ["y"])
    rankless = bad_models.write_onnx(tmp_path / "rankless.onnx", identity, None)
    assert_one_sentence(agent("measure", rankless, *QUICK), 2, "input 'x' has a shape of unknown rank: give one with")
    assert agent("measure", rankless, "--shape", "x=2x3", *QUICK).returncode == 0
    scalars = [bad_models.write_onnx(tmp_path / "scalar.onnx", identity, ())]
    scalars.append(bad_models.write_tflite(tmp_path / "scalar.tflite", RELU, ()))
    assert [agent("measure", scalar, *QUICK).returncode for scalar in scalars] == [0, 0]


@pytest.mark.parametrize(
    ("place", "part"),
    [(".", "Is a directory"), ("/dev/zero", "it is no regular file"), ("/proc/self/mem", "Input/output error")],
)
def test_what_is_no_readable_file_is_one_sentence(place: str, part: str) -> None:
    assert_one_sentence(agent("measure", place, *QUICK), 2, f"cannot read the model {place}: {part}")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.onnx")
    assert_one_sentence(agent("measure", tmp_path / "m.onnx", *QUICK), 2, "it is no regular file")


def test_tensors_that_no_memory_holds_end_the_model_and_nothing_else(tmp_path: Path) -> None:
    large = bad_models.write_onnx_of_terabytes(tmp_path / "large.onnx")
    result = agent("measure", large, models.write_identity(tmp_path / "m.onnx"), "--shape", "x=1", *QUICK)
    assert_one_sentence(result, 1, "fails when run: ")
    assert "m.onnx" in result.stdout


def test_a_model_that_kills_its_runtime_is_quarantined(tmp_path: Path) -> None:
    deadly = bad_models.write_tflite_that_kills_litert(tmp_path / "deadly.tflite")
    good = tflite_models.write_convolution(tmp_path / "good.tflite")
    result = agent("measure", deadly, good, "--runtime", "litert", *QUICK)
    assert_one_sentence(result, 1, "deadly.tflite: the worker was killed by signal 11")
    assert "good.tflite" in result.stdout


@pytest.mark.slow
def test_a_model_that_kills_tflite_runtime_is_quarantined(
    tmp_path: Path, tflite_runtime_environment: dict[str, str]
) -> None:
    deadly = bad_models.write_tflite_that_kills_tflite_runtime(tmp_path / "deadly.tflite")
    good = tflite_models.write_convolution(tmp_path / "good.tflite")
    told = answers_of_tflite_runtime([deadly, good], tflite_runtime_environment)
    assert told == {"crashed": 1, "measured": 1}


@settings(deadline=None, max_examples=40)
@given(SEEDS)
def test_readers_survive_mutants(seed: int) -> None:
    outcomes: Counter[bool] = Counter()
    with TemporaryDirectory() as folder:
        for suffix in (".onnx", ".tflite"):
            for path in write_files(Path(folder), mutants(suffix, 10, seed), suffix):
                outcomes[_survives(path)] += 1
    assert sum(outcomes.values()) == 20


def _survives(path: Path) -> bool:
    refusal: SessionError | None = None
    try:
        if path.suffix == ".tflite":
            check_structure(path)
        else:
            operator_names(path.read_bytes())
            has_rank(path, "x")
    except SessionError as e:
        refusal = e
    if refusal is None:
        return True
    assert refusal.code == "unreadable_model"
    assert_sentence(str(refusal))
    return False


@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
def test_readers_accept_good_files_and_refuse_cut_ones(suffix: str, tmp_path: Path) -> None:
    (good, *_) = good_files(tmp_path, suffix)
    (whole,) = write_files(tmp_path, [good], suffix)
    assert _survives(whole)
    refused = 0
    for path in write_files(tmp_path, [good[:length] for length in range(len(good))], suffix):
        refused += not _survives(path)
    # A protocol buffer that ends between two fields is whole; a FlatBuffer hardly ever is.
    assert refused > (len(good) // 2 if suffix == ".onnx" else len(good) * 9 // 10)


SIZES = st.one_of(st.integers(-2, 2**40), st.none(), st.just("n"))


@given(
    st.one_of(st.none(), st.lists(SIZES, max_size=40)),
    st.one_of(st.none(), st.lists(st.integers(0, 2**40), max_size=40).map(tuple)),
    st.sampled_from(["float32", "int8", "bool", "complex64", "S4", "O"]),
)
def test_a_shape_is_whole_and_affordable_or_refused(
    declared: list[Any] | None, given_shape: tuple[int, ...] | None, dtype: str
) -> None:
    refusal: SessionError | None = None
    try:
        shape = input_shape("x", declared, given_shape, dtype)
    except SessionError as e:
        refusal = e
    if refusal is not None:
        assert_sentence(str(refusal))
        assert refusal.code in ("dynamic_shape", "wrong_shape", "too_large", "unsupported_input")
        return
    assert all(isinstance(size, int) and size > 0 for size in shape)
    assert given_shape is None or shape == given_shape


@pytest.mark.parametrize(("suffix", "runtime"), [(".onnx", "onnxruntime"), (".tflite", "litert")])
@settings(deadline=None, max_examples=3)
@given(seed=SEEDS)
def test_mutants_are_answered_one_by_one(suffix: str, runtime: str, seed: int) -> None:
    with TemporaryDirectory() as folder:
        contents = [*good_files(Path(folder), suffix), *mutants(suffix, 60, seed)]
        told = answers(write_files(Path(folder), contents, suffix), runtime)
    assert sum(told.values()) == 62
    assert told["measured"] >= 2
    assert told["unreadable_model"] >= 20


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "runtime"), [(".onnx", "onnxruntime"), (".tflite", "litert")])
def test_two_thousand_mutants_are_answered(suffix: str, runtime: str, tmp_path: Path) -> None:
    told = answers(write_files(tmp_path, mutants(suffix, 2000, seed=1), suffix), runtime)
    print(f"{runtime}: {dict(told)}")
    assert sum(told.values()) == 2000
    assert told["measured"] >= 50
    assert told["unreadable_model"] >= 1500


@pytest.mark.slow
def test_two_thousand_mutants_are_answered_by_tflite_runtime(
    tmp_path: Path, tflite_runtime_environment: dict[str, str]
) -> None:
    told = answers_of_tflite_runtime(
        write_files(tmp_path, mutants(".tflite", 2000, seed=1), ".tflite"), tflite_runtime_environment
    )
    print(f"tflite-runtime: {dict(told)}")
    assert sum(told.values()) == 2000
    assert told["measured"] >= 50
    assert told["unreadable_model"] >= 1500
    assert told["crashed"] < 50


def answers_of_tflite_runtime(paths: list[Path], tflite_runtime_environment: dict[str, str]) -> Counter[str]:
    """Measure files with the agent where tflite-runtime can be imported."""
    command = [
        sys.executable,
        "-m",
        "profiler_agent",
        "measure",
        *map(str, paths),
        "--runtime",
        "tflite-runtime",
        "--json",
    ]
    result = subprocess.run(
        [*command, "--rounds", "1", "--samples", "1"],
        capture_output=True,
        text=True,
        timeout=900,
        env=tflite_runtime_environment,
    )
    told: dict[str, set[str]] = {str(path): set() for path in paths}
    for line in result.stdout.splitlines():
        assert json.loads(line)
        event = parse_event(line)
        if isinstance(event, Measured):
            told[event.block_id].add("measured")
        elif isinstance(event, Failed):
            assert_sentence(event.sentence)
            told[event.block_id].add(event.code)
    return counted(told)
