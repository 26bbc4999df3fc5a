"""Reading known_hosts files as OpenSSH does, and judging the keys that servers show."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from searcher.devices.host_keys import KnownKeys, known_keys
from searcher.devices.ssh_address import SshAddress
from searcher.devices.transport import HostKeyError
from tests.loopback_sshd import make_key

_KINDS = ["ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-dss", "sk-ssh-ed25519@openssh.com", ""]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("keys")
    kinds = ["ed25519", "ed25519", "ecdsa", "rsa"]
    paths = [make_key(folder / str(number), kind=kind) for number, kind in enumerate(kinds)]
    return [" ".join(path.with_suffix(".pub").read_text().split()[:2]) for path in paths]


class TestKnownHosts:
    address = SshAddress("pi", "board.lab", 2222)

    def known(self, folder: Path, *lines: str) -> KnownKeys:
        (folder / "known_hosts").write_text("\n".join(lines) + "\n")
        return known_keys(self.address, folder / "known_hosts")

    @pytest.mark.parametrize(
        "names", ["[board.lab]:2222", "other,[BOARD.lab]:2222", "[*.lab]:2222", "*", "[board.la?]:2*"]
    )
    def test_names_that_match(self, tmp_path: Path, keys: list[str], names: str) -> None:
        known = self.known(tmp_path, f"{names} {keys[0]}")
        assert len(known.trusted) == 1
        known.verify(known.trusted[0])

    @pytest.mark.parametrize("names", ["board.lab", "[board.lab]:22", "[boardxlab]:2222", "*,![board.lab]:*", "b"])
    def test_names_that_do_not(self, tmp_path: Path, keys: list[str], names: str) -> None:
        assert self.known(tmp_path, f"{names} {keys[0]}").trusted == ()

    def test_hashed_names(self, tmp_path: Path, keys: list[str]) -> None:
        self.known(tmp_path, f"[board.lab]:2222 {keys[0]}", f"other {keys[1]}")
        command = ["ssh-keygen", "-q", "-H", "-f", str(tmp_path / "known_hosts")]
        subprocess.run(command, check=True, capture_output=True)
        assert "board" not in (tmp_path / "known_hosts").read_text()
        assert len(known_keys(self.address, tmp_path / "known_hosts").trusted) == 1

    def test_all_keys_of_a_host_count(self, tmp_path: Path, keys: list[str]) -> None:
        known = self.known(tmp_path, *(f"[board.lab]:2222 {key}" for key in keys))
        assert len(known.trusted) == 4
        for key in known.trusted:
            known.verify(key)

    def test_a_revoked_key_is_refused_even_if_trusted(self, tmp_path: Path, keys: list[str]) -> None:
        known = self.known(tmp_path, f"@revoked * {keys[0]}", f"[board.lab]:2222 {keys[0]}")
        with pytest.raises(HostKeyError, match="revoked"):
            known.verify(known.trusted[0])

    def test_what_cannot_be_read_is_passed_over(self, tmp_path: Path, keys: list[str]) -> None:
        mangled = [f"[board.lab]:2222 {kind} {data}" for kind in _KINDS for data in ("AAAA", "!", "AAAAB3", "x" * 50)]
        odd = ["", "# comment", "@cert-authority * " + keys[1], "one", "|1|x|y ssh-rsa AAAA", f"|1|| {keys[1]}", "\0"]
        known = self.known(tmp_path, *odd, *mangled, f"[board.lab]:2222 {keys[0]} a comment")
        assert [key.get_name() for key in known.trusted] == ["ssh-ed25519"]

    def test_known_kinds_are_asked_for_first(self, tmp_path: Path, keys: list[str]) -> None:
        known = self.known(tmp_path, f"[board.lab]:2222 {keys[2]}", f"[board.lab]:2222 {keys[3]}")
        offered = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256")
        assert known.preferred(offered) == [*offered[1:], "ssh-ed25519"]
