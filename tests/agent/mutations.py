"""Good model files made bad in every kind of place, and what the agent says of many of them."""

from __future__ import annotations

import hashlib
import random
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from profiler_agent.measure import measure
from profiler_agent.records import Done, Failed, Job, JobBlock, Measured, Settings
from tests.agent import models, tflite_models

_EXTREMES = (0, 1, 2, 127, 128, 255, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_LONGEST_SPAN = 16


def good_files(folder: Path, suffix: str) -> list[bytes]:
    """Return small models of a format, most of whose bytes are structure and not weights."""
    path = folder / f"good{suffix}"
    if suffix == ".onnx":
        made = [models.write_identity(path).read_bytes(), models.write_convolution(path, 1, 4).read_bytes()]
    else:
        made = [tflite_models.write_gather(path).read_bytes()]
        made.append(tflite_models.write_convolution(path, 1, 4).read_bytes())
    path.unlink()
    return made


def mutated(data: bytes, generator: random.Random) -> bytes:
    """Cut, flip, overwrite, remove or repeat something, one to three times."""
    for _ in range(generator.choice((1, 1, 1, 2, 3))):
        data = generator.choice(_WAYS)(data, generator) or b"\0"
    return data


def _cut(data: bytes, generator: random.Random) -> bytes:
    return data[: generator.randrange(len(data))]


def _flip(data: bytes, generator: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(generator.choice((1, 1, 2, 8))):
        changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, generator: random.Random) -> bytes:
    start, end = _span(data, generator)
    return data[:start] + generator.randbytes(end - start) + data[end:]


def _set_word(data: bytes, generator: random.Random) -> bytes:
    start = generator.randrange(len(data)) // 4 * 4
    value = generator.choice((*_EXTREMES, len(data)))
    return (data[:start] + struct.pack("<I", value) + data[start + 4 :])[: len(data)]


def _remove(data: bytes, generator: random.Random) -> bytes:
    start, end = _span(data, generator)
    return data[:start] + data[end:]


def _repeat(data: bytes, generator: random.Random) -> bytes:
    start, end = _span(data, generator)
    return data[:end] + data[start:end] + data[end:]


_WAYS = (_cut, _flip, _flip, _flip, _overwrite, _set_word, _set_word, _remove, _repeat)


def _span(data: bytes, generator: random.Random) -> tuple[int, int]:
    start = generator.randrange(len(data))
    return start, min(len(data), start + generator.randint(1, _LONGEST_SPAN))


def write_files(folder: Path, contents: Sequence[bytes], suffix: str) -> list[Path]:
    """Write files, numbered."""
    paths = [folder / f"{index}{suffix}" for index in range(len(contents))]
    for path, content in zip(paths, contents):  # noqa: B905 - Python 3.9 knows no strictness
        path.write_bytes(content)
    return paths


def answers(paths: Sequence[Path], runtime: str, timeout_s: float = 20.0) -> Counter[str]:
    """Measure files in one job of real workers, and count `measured` and the codes of failures.

    Every file must have been answered exactly once, by a batch or by one sentence.
    """
    blocks = tuple(JobBlock(one.name, str(one), hashlib.sha256(one.read_bytes()).hexdigest()) for one in paths)
    settings = Settings(runtime=runtime, rounds=1, samples=1, min_sample_ns=1000, timeout_s=timeout_s)
    told: dict[str, set[str]] = {block.block_id: set() for block in blocks}
    events = list(measure(Job("bad files", blocks, settings)))
    for event in events:
        if isinstance(event, Measured):
            # A neighbour on the machine may reject a batch, which is then taken again.
            told[event.block_id].add("measured")
        elif isinstance(event, Failed):
            assert_sentence(event.sentence)
            told[event.block_id].add(event.code)
    assert isinstance(events[-1], Done)
    return counted(told)


def counted(told: Mapping[str, set[str]]) -> Counter[str]:
    """Count answers by kind; each file has exactly one."""
    wrong = {name: kinds for name, kinds in told.items() if len(kinds) != 1}
    assert not wrong
    return Counter(kind for kinds in told.values() for kind in kinds)


def assert_sentence(sentence: str) -> None:
    assert sentence.strip()
    assert "\n" not in sentence
    assert "Traceback" not in sentence
