"""Addresses of devices: what is read, and what is refused."""

from __future__ import annotations

import pytest

from searcher.devices.ssh_address import SshAddress, parse_address
from searcher.errors import BadInputError


class TestAddress:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("ssh://pi@raspberrypi.local:2222", SshAddress("pi", "raspberrypi.local", 2222)),
            ("ssh://raspberrypi", SshAddress(None, "raspberrypi", 22)),
            ("ssh://pi@192.168.1.5/", SshAddress("pi", "192.168.1.5", 22)),
            ("SSH://Pi@HOST_1", SshAddress("Pi", "host_1", 22)),
            ("ssh://[::1]:8022", SshAddress(None, "::1", 8022)),
            ("ssh://u0_a12@[fe80::1%25eth0]", SshAddress("u0_a12", "fe80::1%eth0", 22)),
            ("ssh://a%40lab@münchen.example", SshAddress("a@lab", "münchen.example", 22)),
        ],
    )
    def test_is_read_and_written(self, text: str, expected: SshAddress) -> None:
        assert parse_address(text) == expected
        assert parse_address(str(expected)) == expected

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "pi@host",
            "host",
            "http://host",
            "sftp://host",
            "ssh:host",
            "ssh://",
            "ssh://pi@",
            "ssh://pi@:22",
            "ssh://@host",
            "ssh://host:",
            "ssh://host:0",
            "ssh://host:65536",
            "ssh://host:ssh",
            "ssh://host:-1",
            "ssh://::1",
            "ssh://[::1",
            "ssh://[host]",
            "ssh://host/path",
            "ssh://host?query",
            "ssh://host#fragment",
            "ssh://-oProxyCommand=id",
            "ssh://pi@-oProxyCommand=id",
            "ssh://-l@host",
            "ssh://a@b@host",
            "ssh://pi@ho st",
            "ssh://pi@host\n",
            "ssh://pi@ho\tst",
            "ssh://p%0ai@host",
            "ssh://pi@$(id)",
        ],
    )
    def test_is_refused(self, text: str) -> None:
        with pytest.raises(BadInputError, match="ssh://user@host:port") as caught:
            parse_address(text)
        assert caught.value.exit_status == 2

    @pytest.mark.parametrize("text", ["ssh://pi:s3cret@host", "ssh://pi:s3cret@host:99999", "ssh://:s3cret@h"])
    def test_a_password_is_refused_and_not_repeated(self, text: str) -> None:
        with pytest.raises(BadInputError) as caught:
            parse_address(text)
        assert "s3cret" not in str(caught.value)
