"""Files on a device that is reached over SSH: asked for, and put in place whole, by SFTP."""

from __future__ import annotations

import contextlib
import secrets
import shlex
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import paramiko

from searcher.devices.ssh_login import LINK_FAILURES
from searcher.devices.transport import CHUNK_BYTES, TransportError, UnreachableError, printable, safe_path

# What a file system may use beside a file's own bytes.
_MARGIN_BYTES = 64 * 1024

_DF_TIMEOUT_S = 5

# What only a device that is there can answer.
_REFUSALS = (FileNotFoundError, PermissionError)

# How long paramiko's thread that reads a connection may take to notice its end, on a host with much else to do.
_NOTICED_S = 2.0


def was_lost(connection: paramiko.Transport) -> bool:
    """Say whether a connection has ended, when something on it has just failed for no reason that the device gave.

    What writes on a connection may learn of its end a moment before paramiko's own thread, which reads, knows it.
    """
    connection.join(_NOTICED_S)
    return not connection.is_active()


@contextlib.contextmanager
def explained(connection: paramiko.Transport, device: str, purpose: str) -> Iterator[None]:
    """Turn what goes wrong on a connection into one sentence.

    Args:
        connection: the connection on which the body works.
        device: its description.
        purpose: what the body is for, continuing "the device ... could not".

    Raises:
        UnreachableError: the device stopped answering.
        TransportError: it refused.
    """
    try:
        yield
    except TimeoutError as e:
        raise UnreachableError(f"{device} stopped answering when it should {purpose}") from e
    except LINK_FAILURES as e:
        if not isinstance(e, _REFUSALS) and was_lost(connection):
            raise UnreachableError(f"the connection to {device} was lost when it should {purpose}") from e
        reason = printable(getattr(e, "strerror", None) or str(e)) or "it gave no reason"
        raise TransportError(f"{device} could not {purpose}: {reason}") from e


@contextlib.contextmanager
def answered(channel: paramiko.Channel, timeout_s: float) -> Iterator[None]:
    """Give a request on a channel, for whose answer paramiko would wait for ever, a time-out.

    Raises:
        TimeoutError: there was no answer in time; the channel is closed.
    """
    late = threading.Event()

    def give_up() -> None:
        late.set()
        channel.close()

    impatience = threading.Timer(timeout_s, give_up)
    impatience.daemon = True
    impatience.start()
    try:
        yield
    except LINK_FAILURES as e:
        if late.is_set():
            raise TimeoutError from e
        raise
    finally:
        impatience.cancel()


class DeviceFiles:
    """The files below a folder on a device, which both `SshTransport` and its programs work in.

    Attributes:
        root: the folder, absolute.
    """

    def __init__(self, connection: paramiko.Transport, device: str, root: str, timeout_s: float) -> None:
        self._connection = connection
        self._device = device
        self._made: set[PurePosixPath] = set()
        with explained(connection, device, "offer SFTP, which files are sent by"):
            channel = connection.open_session()
            channel.settimeout(timeout_s)
            with answered(channel, timeout_s):
                channel.invoke_subsystem("sftp")
            self._sftp = paramiko.SFTPClient(channel)
            # The login shell's idea of home may differ from the SFTP server's; an absolute folder is one for both.
            home = self._sftp.normalize(".")
        # The name stands in messages and commands from here on.
        if not home.isprintable() or not home.startswith("/"):
            raise TransportError(f"{device} calls its home folder {printable(home)[:80]!r}, which is no path")
        self.root = PurePosixPath(home) / root

    def exists(self, path: str) -> bool:
        """Say whether a file or folder is there; see `Transport.exists`."""
        target = self.root / safe_path(path)
        with self._explained(f"look for {target}"):
            return self._is_there(target)

    def send(self, files: Mapping[str, Path]) -> int:
        """Put files below the root and return the bytes sent; see `Transport.send`."""
        targets = {self.root / safe_path(path): source for path, source in files.items()}
        return sum(self._put(source, target) for target, source in targets.items())

    def make_root(self) -> None:
        """Make the root folder unless it is there.

        Raises:
            TransportError: it cannot be made.
        """
        with self._explained(f"make the folder {self.root}"):
            self._make_folder(self.root)

    def _put(self, source: Path, target: PurePosixPath) -> int:
        try:
            size_bytes = source.stat().st_size
            file = source.open("rb")
        except OSError as e:
            raise TransportError(f"cannot read {source}: {e.strerror}") from e
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        with file, self._explained(f"write {target}"):
            self._make_folder(target.parent)
            try:
                self._sftp.putfo(file, str(temporary))
                self._sftp.posix_rename(str(temporary), str(target))
            except BaseException as e:
                self._remove(temporary)
                if isinstance(e, OSError):
                    self._check_room(target, size_bytes, e)
                raise
        return size_bytes

    def _remove(self, path: PurePosixPath) -> None:
        with contextlib.suppress(*LINK_FAILURES):
            self._sftp.remove(str(path))

    def _check_room(self, target: PurePosixPath, size_bytes: int, failure: OSError) -> None:
        """Say so if a write failed because the disk is full, for which SFTP has no word of its own."""
        free_bytes = _free_bytes(self._connection, target.parent)
        if free_bytes is not None and free_bytes < size_bytes + _MARGIN_BYTES:
            raise TransportError(
                f"the disk of {self._device} is full: {target.name} needs {size_bytes} bytes,"
                f" {target.parent} has {free_bytes} left"
            ) from failure

    def _make_folder(self, folder: PurePosixPath) -> None:
        if folder in self._made:
            return
        if not self._is_there(folder):
            self._make_folder(folder.parent)
            try:
                self._sftp.mkdir(str(folder))
            except OSError:
                # Another host may have made it in the meantime.
                if not self._is_there(folder):
                    raise
        self._made.add(folder)

    def _is_there(self, path: PurePosixPath) -> bool:
        try:
            self._sftp.stat(str(path))
        except FileNotFoundError:
            return False
        return True

    def _explained(self, purpose: str) -> contextlib.AbstractContextManager[None]:
        return explained(self._connection, self._device, purpose)


def _free_bytes(connection: paramiko.Transport, folder: PurePosixPath) -> int | None:
    """Ask the device's `df` how much room a folder has; None when that gives no answer."""
    try:
        with connection.open_session() as channel:
            channel.settimeout(_DF_TIMEOUT_S)
            with answered(channel, _DF_TIMEOUT_S):
                channel.exec_command(shlex.join(["df", "-Pk", str(folder)]))
            answer = channel.makefile("rb").read(CHUNK_BYTES)
        return int(answer.splitlines()[-1].split()[3]) * 1024
    except (*LINK_FAILURES, ValueError, IndexError):
        return None
