"""How much a device may say: a line, an answer, and everything together."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from searcher.devices.transport import TransportError, split_lines, whole_answer


def test_a_program_that_never_stops_talking_is_cut_off() -> None:
    chunks = iter([b"one\ntwo\n"] * 1000)
    lines = split_lines(lambda: next(chunks), output_limit_bytes=40)
    kept: list[str] = []
    with pytest.raises(TransportError, match="more than 40 bytes"):
        kept.extend(lines)
    assert next(chunks, None) is not None

    exactly = iter([b"12345\n", b"67\n", b""])
    assert list(split_lines(lambda: next(exactly), output_limit_bytes=9)) == ["12345", "67"]


def test_a_short_answer_is_bounded_and_its_program_ended() -> None:
    ended = []

    def program() -> Generator[str, None, None]:
        try:
            while True:
                yield "a line"
        finally:
            ended.append(True)

    with pytest.raises(TransportError, match="more than 100 bytes for a short answer"):
        whole_answer(program(), 100)
    assert ended == [True]
    assert whole_answer((line for line in ("a", "b")), 4) == ["a", "b"]
