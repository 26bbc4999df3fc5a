"""What the host may import of the agent: its records, and nothing that a new module could slip past the linter."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import searcher

_AGENT = "profiler_agent"
_ALLOWED = f"{_AGENT}.records"


def agent_modules(source: str) -> Iterator[str]:
    """Yield what a file imports of the agent, anywhere in it: modules, or names that may be modules."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == _AGENT:
            found = [f"{_AGENT}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = [node.module or ""]
        else:
            continue
        yield from (name for name in found if name.split(".")[0] == _AGENT)


def test_the_host_imports_nothing_of_the_agent_but_its_records() -> None:
    files = sorted(Path(searcher.__file__).parent.rglob("*.py"))
    wrong = [f"{file}: {name}" for file in files for name in agent_modules(file.read_text()) if name != _ALLOWED]
    assert len(files) > 50
    assert wrong == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import profiler_agent", ["profiler_agent"]),
        ("import os, profiler_agent.orders as o", ["profiler_agent.orders"]),
        ("from profiler_agent import records, launch", ["profiler_agent.records", "profiler_agent.launch"]),
        ("def f():\n    from profiler_agent.runtimes.onnx import x", ["profiler_agent.runtimes.onnx"]),
        ("from . import profiler_agent\nimport profiler_agents", []),
    ],
)
def test_no_form_of_import_is_missed(source: str, found: list[str]) -> None:
    assert list(agent_modules(source)) == found
