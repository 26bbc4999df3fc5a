"""The file system of a lean 64-bit Arm board: Debian with python3, which has neither pip nor venv nor numpy.

Made once by debootstrap, as root, in about a minute, and kept in `$PROFILER_BOARD_ROOT` or below /var/cache. Every
folder above it must be closed to others, as sshd wants it of a place to confine users in: /tmp will not do.
Its programs run under qemu's user-mode emulation: right for what they do, meaningless for how fast they do it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(os.environ.get("PROFILER_BOARD_ROOT", "/var/cache/profiler-agent-tests/board"))

# Python's version by Debian's.
PYTHONS = {"bookworm": "3.11", "bullseye": "3.9"}
USER, USER_ID = "pi", 1999

# Mounts and processes live in namespaces that end with this process, however it ends.
CONTAINED = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")

_TOOLS = {"debootstrap": "debootstrap", "qemu-aarch64-static": "qemu-user-static", "dpkg-deb": "dpkg"}
_PACKAGES = "python3,libgomp1,procps"
_DEADLINE_S = 900
_DIGITS = 8
_FORMATS = Path("/proc/sys/fs/binfmt_misc")
# 64-bit little-endian ELF programs and libraries for AArch64. F: the kernel keeps the emulator open, which is not there
# in the board's root.
_AARCH64_ELF = (
    r":qemu-aarch64:M::"
    r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:"
    r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:"
    r"{emulator}:F"
)


class NoBoardError(Exception):
    """This machine cannot emulate a board."""


def board_root(suite: str) -> Path:
    """Return the root folder of a board with a release of Debian, making it if need be; programs in it can be run.

    Raises:
        NoBoardError: the machine lacks rights or tools, or packages cannot be had.
    """
    if os.geteuid() != 0:
        raise NoBoardError("an emulated board needs root")
    for tool, package in _TOOLS.items():
        if shutil.which(tool) is None and not (tool.startswith("qemu") and platform.machine() == "aarch64"):
            raise NoBoardError(f"an emulated board needs {tool}: apt-get install {package}")
    if subprocess.run([*CONTAINED, "true"], capture_output=True).returncode != 0:
        raise NoBoardError("an emulated board needs mounts: a container needs CAP_SYS_ADMIN for them")
    _register_emulator()
    # Another checkout may make roots in another way, and use them at the same time.
    root = FOLDER / f"{suite}-{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:_DIGITS]}"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with root.with_name(f"{root.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            _make(root, suite)
    return root


def _register_emulator() -> None:
    """Let the kernel start programs for AArch64 with the emulator."""
    if platform.machine() == "aarch64" or (_FORMATS / "qemu-aarch64").exists():
        return
    if not (_FORMATS / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(_FORMATS)], capture_output=True)
    try:
        if not (_FORMATS / "qemu-aarch64").exists():
            (_FORMATS / "register").write_text(_AARCH64_ELF.format(emulator=shutil.which("qemu-aarch64-static")))
    except OSError as e:
        raise NoBoardError(f"an emulated board needs binfmt_misc, which cannot be set here: {e.strerror}") from e


def _make(root: Path, suite: str) -> None:
    """Make a root under another name, and rename it when it is whole."""
    new, log = root.with_name(f"{root.name}.new"), root.with_name(f"{root.name}.log")
    subprocess.run(["rm", "-rf", "--one-file-system", str(new)], check=True)
    with log.open("wb") as output:
        try:
            command = ["debootstrap", "--arch=arm64", "--foreign", "--variant=minbase", f"--include={_PACKAGES}"]
            _run([*CONTAINED, *command, suite, str(new)], output.fileno())
            _unpack(new, output.fileno())
            # As Debian does at the end of installing; else each start of Python would compile all that it imports.
            compiling = ["/usr/bin/python3", "-m", "compileall", "-q", f"/usr/lib/python{PYTHONS[suite]}"]
            _run(["chroot", str(new), "/sbin/ldconfig"], output.fileno())
            _run([*CONTAINED, "chroot", str(new), *compiling], output.fileno())
        except (OSError, subprocess.SubprocessError) as e:
            raise NoBoardError(f"the root of a board cannot be made: {e}; {log} tells why") from e
    _add_user(new)
    new.rename(root)


def _unpack(root: Path, output: int) -> None:
    """Unpack all packages, without their scripts, which would take long under emulation and set up nothing of use."""
    archives = sorted((root / "var/cache/apt/archives").glob("*.deb"))
    for archive in archives:
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as unpacking:
            command = ["tar", "--extract", "--keep-directory-symlink", "--directory", str(root)]
            subprocess.run(command, stdin=unpacking.stdout, stdout=output, stderr=output, check=True)
        archive.unlink()
    if not archives:
        raise OSError("debootstrap brought no packages")


def _add_user(root: Path) -> None:
    (root / "etc/passwd").write_text(accounts("/root"))
    (root / "etc/group").write_text(f"root:x:0:\n{USER}:x:{USER_ID}:\n")
    for name in ("proc", "dev", "sys"):
        # debootstrap may leave a link to the host's.
        if (root / name).is_symlink():
            (root / name).unlink()
    for name in ("proc", "dev", "sys", "tmp", f"home/{USER}"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "etc/authorized_keys").touch()
    os.chown(root, 0, 0)
    root.chmod(0o755)


def accounts(home_of_root: str) -> str:
    """Return the lines of a board's accounts in the format of /etc/passwd."""
    return f"root:x:0:0::{home_of_root}:/bin/sh\n{USER}:x:{USER_ID}:{USER_ID}::/home/{USER}:/bin/sh\n"


def _run(command: list[str], output: int) -> None:
    subprocess.run(command, stdout=output, stderr=output, check=True, timeout=_DEADLINE_S)
