"""An emulated 64-bit Arm board behind a real SSH server on the loopback address, its home folder empty at first.

The server, what it starts, what that leaves behind, and all mounts live in namespaces of their own and end with it.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.board.root_folder import CONTAINED, USER, USER_ID, accounts
from tests.loopback_sshd import LoopbackSshd

# /sys tells how many processors there are, or onnxruntime 1.19 aborts, and nothing else: newer ones crash on an x86
# machine's processor files.
# Positional: the board's root, the folder of the server's files; then the server and its arguments.
_START = """
set -e
root=$1 files=$2
shift 2
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/sys"
mkdir -p "$root/sys/devices/system/cpu"
for name in possible present; do
  cat "/sys/devices/system/cpu/$name" >"$root/sys/devices/system/cpu/$name"
done
for name in null zero full random urandom tty; do
  : >"$root/dev/$name"
  mount --bind "/dev/$name" "$root/dev/$name"
done
mount --bind "$files/home" "$root/home/pi"
mount --bind "$files/authorized_keys" "$root/etc/authorized_keys"
mount --bind "$files/passwd" /etc/passwd
exec "$@"
"""


class Board(LoopbackSshd):
    """Runs a board while used as a context manager.

    Args:
        folder: where its files lie; made. Its `home` is the home folder of the board's user.
        root: of its file system.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        # The keys are read with the user's rights, who cannot look into a test's folder.
        confined = f"AllowUsers {USER}\nChrootDirectory {root}\nAuthorizedKeysFile {root}/etc/authorized_keys\n"
        super().__init__(folder, sftp="internal-sftp", user=USER, first=confined)
        self._root = root
        os.chown(self.home, USER_ID, USER_ID)
        (folder / "authorized_keys").chmod(0o644)
        # The server looks its users up before it confines them.
        own = [line for line in Path("/etc/passwd").read_text().splitlines() if not line.startswith(f"{USER}:")]
        (folder / "passwd").write_text("\n".join([*own, *accounts("/root").splitlines()[1:]]) + "\n")

    def _command(self) -> list[str]:
        return [*CONTAINED, "sh", "-c", _START, "board", str(self._root), str(self._folder), *super()._command()]

    def stop(self) -> None:
        """End the server with everything in its namespaces."""
        if self._process is not None:
            # It starts the namespaces' first process and lets no other signal through.
            self._process.kill()
            self._process.wait()
            self._process = None
