"""Makers of wheels and of a package index that is a folder."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest


def write_wheel(
    folder: Path,
    distribution: str,
    version: str,
    tags: str = "py3-none-any",
    files: Mapping[str, str] | None = None,
    requires_python: str = ">=3.8",
) -> Path:
    """Write a wheel that pip takes for one; without `files` it holds one module that is named as the distribution."""
    name = distribution.replace("-", "_")
    content = files or {f"{name}.py": f"version = {version!r}\n"}
    information = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\nRequires-Python: {requires_python}\n"
    # A dependency that nobody has: whoever resolves dependencies fails.
    metadata += "Requires-Dist: no-such-distribution\n"
    wheel = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tags}\n"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-{tags}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for file, text in {**content, f"{information}/METADATA": metadata, f"{information}/WHEEL": wheel}.items():
            zipped.writestr(file, text)
        zipped.writestr(f"{information}/RECORD", "")
    return path


def only_index(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let pip find what lies in a folder, and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder
