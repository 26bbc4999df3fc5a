"""Fleets as files and as options: what is read, what is refused, and how boards are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from searcher.devices.device import Device
from searcher.devices.fleet import named_boards, read_fleet
from searcher.errors import BadInputError


def fleet(folder: Path, text: str) -> Path:
    path = folder / "shelf.toml"
    path.write_text(text)
    return path


def test_a_board_has_what_its_entry_says_and_else_what_the_user_says(tmp_path: Path) -> None:
    for name in ("lab", "known", "mine"):
        (tmp_path / name).write_text("")
    path = fleet(
        tmp_path,
        """
        schema_version = 1
        [[board]]
        device = "ssh://pi@shelf-1"
        name = "first"
        identity = "lab"
        known_hosts = "known"
        python = "/usr/bin/python3.11"
        [[board]]
        device = "ssh://pi@shelf-2:2222"
        """,
    )
    first, second = read_fleet(path, Device(python="python3.9", identity=tmp_path / "mine"))
    assert (first.name, second.name) == ("first", "shelf-2-2222")
    assert first.device == Device("ssh://pi@shelf-1", "/usr/bin/python3.11", tmp_path / "lab", tmp_path / "known")
    assert second.device == Device("ssh://pi@shelf-2:2222", "python3.9", tmp_path / "mine")


def test_names_are_safe_and_of_one_board_each(tmp_path: Path) -> None:
    names = ["../../etc/passwd", "Pi 4", "pi-4", "PI-4", "...", "", "grün\x1b[31m"]
    entries = "".join(
        f'[[board]]\ndevice = "ssh://pi@host-{index}"\nname = {name!r}\n'.replace("'", '"').replace("\\x1b", "\\u001b")
        for index, name in enumerate(names)
    )
    found = [board.name for board in read_fleet(fleet(tmp_path, entries), Device())]
    assert found == ["etc-passwd", "Pi-4", "pi-4-2", "PI-4-3", "board", "host-5", "gr-n-31m"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"shelf\.toml: board is missing"),
        ("board = []", r"shelf\.toml lists no board"),
        ("[[board]", r"shelf\.toml is no TOML: .*line 1"),
        ('[[board]]\nname = "a"', r"shelf\.toml, line 1, board\.1: device is missing"),
        (
            '[[board]]\ndevice = "local"\n\n[[board]]\ndevice = "ssh://a"\npassword = "x"',
            r"shelf\.toml, line 6, board\.2\.password: a board has device, .* and no password",
        ),
        ('[[board]]\ndevice = "local"\nname = 3', r"line 3, board\.1\.name: input should be a valid string"),
        ('schema_version = 2\n[[board]]\ndevice = "local"', r"line 1, schema_version: input should be 1"),
        (
            '[[board]]\ndevice = "local"\n[[board]]\ndevice = "local"',
            r"line 4, board\.2\.device: local is listed twice",
        ),
        ('[[board]]\ndevice = "ssh://a:b@c"', r"line 2, board\.1\.device: .*a password does not belong"),
        (
            '[[board]]\ndevice = "ssh://a"\nidentity = "no-such-key"',
            r"shelf\.toml, line 3, board\.1\.identity: (?!--)\S*no-such-key cannot be read: No such file",
        ),
        (
            '[[board]]\ndevice = "ssh://a"\n\nknown_hosts = "none"',
            r"line 4, board\.1\.known_hosts: [^ ]*none cannot be read",
        ),
        (
            '[[board]]\ndevice = "ssh://a"\nprofile = "raspberry"',
            r"line 3, board\.1\.profile: unknown profile 'raspberry' \(did you mean raspberry-pi-\d\?\)",
        ),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        read_fleet(fleet(tmp_path, text), Device())


def test_files_that_are_no_fleet_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="cannot be read: No such file"):
        read_fleet(tmp_path / "none.toml", Device())
    path = tmp_path / "shelf.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BadInputError, match="is not UTF-8"):
        read_fleet(path, Device())
    path.write_bytes(b"#" * (1 << 21))
    with pytest.raises(BadInputError, match="is larger than"):
        read_fleet(path, Device())


def test_devices_are_called_by_their_hosts(tmp_path: Path) -> None:
    boards = named_boards(["local", "ssh://pi@a", "ssh://root@a:2222", "ssh://[fe80::1]"], Device(python="python3"))
    assert [board.name for board in boards] == ["local", "a", "a-2222", "fe80-1"]
    assert {board.device.python for board in boards} == {"python3"}
    with pytest.raises(BadInputError, match="--device ssh://a is given twice"):
        named_boards(["ssh://a", "ssh://a"], Device())


def test_boards_may_be_profiles_or_have_one(tmp_path: Path) -> None:
    own = tmp_path / "kitchen-pi.toml"
    own.write_text('schema_version = 1\n[reach]\naddress = "kitchen"\n')
    path = fleet(
        tmp_path,
        f"""
        [[board]]
        device = "{own}"
        [[board]]
        device = "ssh://pi@shelf-2"
        profile = "raspberry-pi-5"
        [[board]]
        device = "ssh://pi@shelf-3"
        """,
    )
    boards = read_fleet(path, Device(profile_name="raspberry-pi-4"))
    assert [board.name for board in boards] == ["kitchen-pi", "shelf-2", "shelf-3"]
    assert [board.device.profile_name for board in boards] == [None, "raspberry-pi-5", "raspberry-pi-4"]
    assert boards[0].device.profile.reach.address == "kitchen"
