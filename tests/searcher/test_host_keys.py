"""Reading known_hosts files as OpenSSH does, and judging the keys that servers show."""

from __future__ import annotations

import subprocess
from pathlib import Path

import paramiko
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


class TestRemember:
    """Keys of servers that were never met, written down without harm to what the file holds."""

    address = SshAddress("pi", "board.lab", 2222)

    def key(self, folder: Path, line: str) -> paramiko.PKey:
        (folder / "other").write_text(f"[board.lab]:2222 {line}\n")
        return known_keys(self.address, folder / "other").trusted[0]

    def test_it_is_appended_behind_what_is_there(self, tmp_path: Path, keys: list[str]) -> None:
        file = tmp_path / "known_hosts"
        file.write_text(f"# mine\nother.lab {keys[1]}")
        sentence = known_keys(self.address, file).remember(self.key(tmp_path, keys[0]))
        assert file.read_text() == f"# mine\nother.lab {keys[1]}\n[board.lab]:2222 {keys[0]}\n"
        assert sentence is not None
        assert "SHA256:" in sentence
        assert known_keys(self.address, file).remember(self.key(tmp_path, keys[0])) is None
        assert len(file.read_text().splitlines()) == 3

    def test_its_name_is_hashed_where_others_are(self, tmp_path: Path, keys: list[str]) -> None:
        file = tmp_path / "known_hosts"
        file.write_text(f"other.lab {keys[1]}\n")
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
        known_keys(self.address, file).remember(self.key(tmp_path, keys[0]))
        assert "board.lab" not in file.read_text()
        found = subprocess.run(
            ["ssh-keygen", "-F", "[board.lab]:2222", "-f", str(file)], check=True, capture_output=True, text=True
        )
        assert keys[0] in found.stdout
        assert len(known_keys(self.address, file).trusted) == 1

    @pytest.mark.parametrize(("line", "said"), [("[board.lab]:2222 {0}", "HAS CHANGED"), ("@revoked * {1}", "revoked")])
    def test_no_other_key_is(self, tmp_path: Path, keys: list[str], line: str, said: str) -> None:
        file = tmp_path / "known_hosts"
        file.write_text(line.format(*keys) + "\n")
        before = file.read_text()
        with pytest.raises(HostKeyError, match=said):
            known_keys(self.address, file).remember(self.key(tmp_path, keys[1]))
        assert file.read_text() == before

    def test_a_file_that_cannot_be_written_is_one_sentence(self, tmp_path: Path, keys: list[str]) -> None:
        known = known_keys(self.address, tmp_path / "missing" / "known_hosts", may_lack=True)
        (tmp_path / "missing").write_text("")
        with pytest.raises(HostKeyError, match="cannot be written"):
            known.remember(self.key(tmp_path, keys[0]))

    def test_several_files_and_a_name_of_its_own(self, tmp_path: Path, keys: list[str]) -> None:
        files = (tmp_path / "one", tmp_path / "two")
        files[0].write_text(f"phone-7 {keys[0]}\n")
        files[1].write_text(f"phone-7 {keys[1]}\n[board.lab]:2222 {keys[2]}\n")
        known = known_keys(self.address, files, "phone-7")
        assert (len(known.trusted), known.file) == (2, files[0])
