"""Tells what the Python is that runs it: `python3 - MODULE…` prints one JSON object, with which modules it can find.

It is sent through standard input before anything of the agent is on the device, and so it imports nothing of the agent.
Whatever is newer than Python 3.5 stays out of it: a Python that is too old for the agent must be able to say so.
"""

import glob
import json
import os
import platform
import sys
from importlib.util import find_spec
from typing import Any, Dict, Sequence, Tuple


def describe(modules: Sequence[str]) -> Dict[str, Any]:
    """Return what decides which wheels fit here, and those of some top-level modules that can be found."""
    libc, libc_version = _libc()
    return {
        "version": list(sys.version_info[:3]),
        "implementation": sys.implementation.name,
        "abi_flags": getattr(sys, "abiflags", ""),
        "system": platform.system(),
        "machine": platform.machine(),
        # A 64-bit kernel may run a 32-bit Python.
        "pointer_bits": 64 if sys.maxsize > 2**32 else 32,
        "libc": libc,
        "libc_version": libc_version,
        "modules": [name for name in modules if find_spec(name) is not None],
    }


def _libc() -> Tuple[str, str]:
    """Return the C library's name and version, empty where they are not known."""
    android_api = getattr(sys, "getandroidapilevel", None)
    if android_api is not None:
        return "bionic", str(android_api())
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, OSError, ValueError):
        name = version = ""
    if not name and glob.glob("/lib/ld-musl-*"):
        name = "musl"
    return name, version


if __name__ == "__main__":
    print(json.dumps(describe(sys.argv[1:])))
