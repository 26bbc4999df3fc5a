"""The limits that control groups put on this process, version 1 and 2: those of its own group and of all above."""

from __future__ import annotations

import functools
import re
from pathlib import Path, PurePosixPath
from typing import Dict, Iterator, NamedTuple, Optional

from profiler_agent.system_files import is_denied, read_integer, read_text

_MOUNT = "sys/fs/cgroup"
# What version 1 says where there is no limit: the greatest multiple of a page that fits.
_NO_MEMORY_LIMIT = 2**60


class GroupLimits(NamedTuple):
    """The tightest limits; None where there is none.

    Attributes:
        processors: processor time that the group may use, in processors; used up, it stands still until the next
            period.
        memory_bytes: how much memory the group may use.
        memory_used_bytes: how much of that is in use and cannot simply be dropped.
        throttled: how often the group has stood still, where that is told.
        unreadable: whether there is a limit that is denied or makes no sense.
    """

    processors: Optional[float] = None
    memory_bytes: Optional[int] = None
    memory_used_bytes: Optional[int] = None
    throttled: Optional[int] = None
    unreadable: bool = False


def read_limits(root: Path) -> Optional[GroupLimits]:
    """Return the limits of this process; None where the kernel does not tell its groups."""
    groups = _own_groups(root)
    if groups is None:
        return None
    processors: Dict[float, Path] = {}
    memory: Dict[int, Path] = {}
    unreadable = False
    for folder in _folders(root, groups, "cpu"):
        unreadable = unreadable or _is_strange(folder / "cpu.max", r"(max|\d{1,15})\s+\d{1,15}")
        unreadable = unreadable or _is_strange(folder / "cpu.cfs_quota_us", r"-1|\d{1,15}")
        quota = _quota(folder)
        if quota is not None:
            processors.setdefault(quota, folder)
    for folder in _folders(root, groups, "memory"):
        unreadable = unreadable or _is_strange(folder / "memory.max", r"max|\d{1,18}")
        # The number that stands for no limit has a digit more.
        unreadable = unreadable or _is_strange(folder / "memory.limit_in_bytes", r"\d{1,19}")
        limit = _first_integer(folder, "memory.max", "memory.limit_in_bytes")
        if limit is not None and 0 < limit < _NO_MEMORY_LIMIT:
            memory.setdefault(limit, folder)
    quota, limit = min(processors, default=None), min(memory, default=None)
    return GroupLimits(
        processors=quota,
        memory_bytes=limit,
        memory_used_bytes=None if limit is None else _memory_used(memory[limit]),
        throttled=None if quota is None else _statistic(processors[quota] / "cpu.stat", "nr_throttled"),
        unreadable=unreadable,
    )


def read_quota_stops(root: Path) -> Optional[int]:
    """Return how often this process's group has stood still; None without a quota. Cheap when read again."""
    folder = _quota_folder(root)
    return None if folder is None else _statistic(folder / "cpu.stat", "nr_throttled")


@functools.lru_cache(maxsize=1)
def _quota_folder(root: Path) -> Optional[Path]:
    """Return the folder of the tightest quota, which stays where it is for as long as a process lives."""
    folders = _folders(root, _own_groups(root) or {}, "cpu")
    quotas = {folder: quota for folder in folders for quota in [_quota(folder)] if quota is not None}
    return min(quotas, key=lambda folder: quotas[folder], default=None)


def _own_groups(root: Path) -> Optional[Dict[str, str]]:
    """Return the group of this process by controller; that of version 2 has the name ``."""
    text = read_text(root / "proc/self/cgroup")
    if text is None:
        return None
    groups = {}
    for line in text.splitlines():
        match = re.fullmatch(r"\d{1,9}:([^:]*):(/.*)", line)
        if match and ".." not in match.group(2) and "\0" not in line:
            for controller in match.group(1).split(","):
                groups[controller] = match.group(2)
    return groups or None


def _folders(root: Path, groups: Dict[str, str], controller: str) -> Iterator[Path]:
    """Yield the folders of a group and of all above it, where a controller's files may be.

    In a container the group's name may be one that only the host can see; then the mount itself holds its files.
    """
    mounts = [(root / _MOUNT, groups.get("")), (root / _MOUNT / "unified", groups.get(""))]
    mounts += [(root / _MOUNT / name, groups.get(controller)) for name in (controller, "cpu,cpuacct")]
    for mount, group in mounts:
        if group is not None:
            name = PurePosixPath(group.lstrip("/"))
            for part in (name, *name.parents):
                yield mount / part


def _quota(folder: Path) -> Optional[float]:
    match = re.fullmatch(r"(\d{1,15})\s+(\d{1,15})", read_text(folder / "cpu.max") or "")
    if match:
        quota, period = int(match.group(1)), int(match.group(2))
    else:
        quota = read_integer(folder / "cpu.cfs_quota_us") or 0
        period = read_integer(folder / "cpu.cfs_period_us") or 0
    return quota / period if quota > 0 and period > 0 else None


def _is_strange(path: Path, pattern: str) -> bool:
    """Tell whether a file is there but is denied, or holds what the kernel would not write."""
    text = read_text(path)
    return is_denied(path) if text is None else re.fullmatch(pattern, text) is None


def _memory_used(folder: Path) -> Optional[int]:
    used = _first_integer(folder, "memory.current", "memory.usage_in_bytes")
    # Files that were read and are not in use stay until the room is needed.
    droppable = [_statistic(folder / "memory.stat", name) for name in ("total_inactive_file", "inactive_file")]
    return None if used is None else max(0, used - next((one for one in droppable if one is not None), 0))


def _first_integer(folder: Path, *names: str) -> Optional[int]:
    return next((value for value in (read_integer(folder / name) for name in names) if value is not None), None)


def _statistic(path: Path, name: str) -> Optional[int]:
    match = re.search(rf"^{name} (\d{{1,18}})$", read_text(path) or "", re.MULTILINE)
    return int(match.group(1)) if match else None
