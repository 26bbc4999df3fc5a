"""`searcher devices`, and profiles from end to end, against a real SSH server and on the local device."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from searcher.tables.lookup_table import TABLE_DOCUMENT
from tests.loopback_sshd import LoopbackSshd, make_key
from tests.sshd import sshd_or_skip

QUICK = ("--rounds", "2", "--samples", "2", "--no-costs")
MEASURE = 'cluster = "fastest"\nthreads = 2\nmax_temperature_c = 120\n'
STAGES = ["reachable", "host key", "login", "python", "agent", "runtime onnxruntime", "clusters", "disk"]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackSshd]:
    with sshd_or_skip(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def home(tmp_path: Path, sshd: LoopbackSshd) -> Path:
    """A user's home: a profile that points to the server, and an SSH configuration that knows it."""
    (tmp_path / "devices").mkdir()
    (tmp_path / "ssh_config").write_text(
        f"Host my-board\n  HostName {sshd.address.host}\n  Port {sshd.address.port}\n  User {sshd.address.user}\n"
        f"  IdentityFile {sshd.identity}\n  UserKnownHostsFile {sshd.known_hosts}\n"
    )
    write_profile(tmp_path, "bench", sys.executable)
    return tmp_path


def write_profile(home: Path, name: str, python: str, measure: str = MEASURE) -> None:
    reach = '[reach]\naddress = "my-board"\n'
    runs = f'[python]\ninterpreter = "{python}"\nruntime_from = "system"\n'
    text = f'schema_version = 1\ntitle = "mine"\n{reach}{runs}[measure]\n{measure}'
    (home / "devices" / f"{name}.toml").write_text(text)


def searcher(home: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    variables = {
        **os.environ,
        "HOME": str(home),
        # What was exported before need not be exported again.
        "PROFILER_CACHE": os.environ.get("PROFILER_CACHE", os.path.expanduser("~/.cache/profiler-agent")),
        "PROFILER_DEVICES": str(home / "devices"),
        "PROFILER_SSH_CONFIG": str(home / "ssh_config"),
    }
    variables.pop("SSH_AUTH_SOCK", None)
    command = [sys.executable, "-m", "searcher.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=home, env=variables, capture_output=True, text=True, timeout=300)


def checks(result: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {one["check"]: one["verdict"] for one in json.loads(result.stdout)["checks"]}


def test_list_and_show(home: Path) -> None:
    (home / "devices" / "bad.toml").write_text("schema_version = 1\ncolour = 3\n")
    listed = searcher(home, "devices", "list")
    assert listed.returncode == 0, listed.stderr
    assert "raspberry-pi-4" in listed.stdout
    assert "ssh://my-board " in listed.stdout
    assert "bad.toml, line 2, colour: a profile has no such key" in listed.stdout
    rows = {one["name"]: one for one in json.loads(searcher(home, "devices", "list", "--json").stdout)}
    assert rows["bench"]["file"] == str(home / "devices" / "bench.toml")
    assert rows["bench"]["problem"] is None
    assert "colour" in rows["bad"]["problem"]

    shown = searcher(home, "devices", "show", "jetson-nano")
    assert shown.returncode == 0, shown.stderr
    assert "python3.8" in shown.stdout
    document = json.loads(searcher(home, "devices", "show", "bench", "--json").stdout)
    assert (document["name"], document["measure"]["cluster"]) == ("bench", "fastest")
    for name in ("bad", "missing"):
        refused = searcher(home, "devices", "show", name)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert len(refused.stderr.splitlines()) == 1


def test_check_of_a_profile_over_ssh(home: Path) -> None:
    told = searcher(home, "devices", "check", "bench", "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["works"] is True
    verdicts = checks(told)
    assert set(STAGES) <= set(verdicts)
    assert all(verdicts[name] == "ok" for name in STAGES if name not in ("clusters", "disk"))


def test_check_of_this_machine(home: Path) -> None:
    told = searcher(home, "devices", "check", "local", "--json")
    assert told.returncode == 0, told.stderr
    verdicts = checks(told)
    assert verdicts["reachable"] == verdicts["python"] == verdicts["runtime onnxruntime"] == "ok"
    assert "login" not in verdicts


def test_check_says_how_far_it_came(home: Path, sshd: LoopbackSshd) -> None:
    def failing(name: str, *options: str) -> tuple[str, dict[str, str]]:
        result = searcher(home, "devices", "check", name, *options, "--json")
        assert result.returncode == 1, result.stderr
        assert result.stderr.startswith(f"searcher: {name} cannot measure: ")
        document = json.loads(result.stdout)
        assert document["works"] is False
        last = document["checks"][-1]
        return f"{last['check']} {last['verdict']}: {last['sentence']}", checks(result)

    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        last, verdicts = failing(f"ssh://127.0.0.1:{bound.getsockname()[1]}")
    assert last.startswith("reachable fails: ")
    assert "refuses the connection" in last
    assert verdicts == {"reachable": "fails"}

    (home / "empty").write_text("")
    last, verdicts = failing("bench", "--known-hosts", str(home / "empty"))
    assert last.startswith("host key fails: ")
    assert verdicts == {"reachable": "ok", "host key": "fails"}

    write_profile(home, "no-python", "python9")
    last, verdicts = failing("no-python")
    assert last.startswith("python fails: the device has no program 'python9'")
    assert verdicts["login"] == "ok"

    old = home / "old-python"
    old.write_text("#!/bin/sh\necho 3.6.9\n")
    old.chmod(0o755)
    write_profile(home, "old-python", str(old))
    assert "is 3.6.9; the agent needs 3.8 or newer" in failing("old-python")[0]


def test_a_new_host_is_accepted_once(home: Path, sshd: LoopbackSshd) -> None:
    options = ("--known-hosts", home / "mine", "--accept-new-host-key")
    first = searcher(home, "devices", "check", "bench", *options)
    assert first.returncode == 0, first.stderr
    assert "accepted the new host key of" in first.stdout
    assert "SHA256:" in first.stdout
    assert "ok     host key: accepted just now" in first.stdout
    assert "the one that is known" not in first.stdout
    lines = first.stdout.splitlines()
    assert any(line.startswith("ok     reachable: ssh://") for line in lines)
    assert any("doctor: load: " in line for line in lines)
    assert not any(line.startswith("fails") for line in lines)
    again = searcher(home, "devices", "check", "bench", "--known-hosts", home / "mine")
    assert again.returncode == 0, again.stderr
    assert "accepted" not in again.stdout
    assert "ok     host key: the one that is known" in again.stdout


def test_a_new_key_is_told_although_the_login_fails(home: Path, sshd: LoopbackSshd) -> None:
    options = ("--identity", make_key(home / "wrong"), "--known-hosts", home / "mine", "--accept-new-host-key")
    told = searcher(home, "devices", "check", "bench", *options, "--json")
    assert told.returncode == 1, told.stderr
    first, _, key, login = json.loads(told.stdout)["checks"]
    assert (first["check"], first["verdict"]) == ("host key", "note")
    assert "SHA256:" in first["sentence"]
    assert (key["check"], key["sentence"].partition(",")[0]) == ("host key", "accepted just now")
    assert (login["check"], login["verdict"]) == ("login", "fails")

    (home / "mine").unlink()
    measured = searcher(home, "profile", "--device", "bench", *options, *QUICK, "--out", "t.json")
    assert measured.returncode == 1
    note, complaint = measured.stderr.index("SHA256:"), measured.stderr.index("searcher: ")
    assert note < complaint
    assert "was refused" in measured.stderr[complaint:]


def test_a_lying_device_reaches_neither_terminal_nor_memory(home: Path) -> None:
    """A Python that answers with escape codes, with nonsense, and with more than anybody asked for."""
    liar = home / "liar"
    answers = {
        "printf '\\033[2J\\033]0;owned\\007 3.11.1\\n'": "python",
        'case "$*" in *-c*) echo 3.11.1;; *info*) printf \'{"\\033[31m": 1}\\n\';; esac': "agent",
        'case "$*" in *-c*) echo 3.11.1;; *info*) yes a long line;; esac': "agent",
    }
    for script, stage in answers.items():
        liar.write_text(f"#!/bin/sh\n{script}\n")
        liar.chmod(0o755)
        write_profile(home, "liar", str(liar))
        told = searcher(home, "devices", "check", "liar")
        assert told.returncode == 1, told.stderr
        assert f"fails  {stage}: " in told.stdout
        assert "\033" not in told.stdout + told.stderr
        assert "\007" not in told.stdout + told.stderr


@pytest.mark.slow
def test_profile_with_a_profile_keeps_the_key_of_a_local_run(home: Path) -> None:
    over_ssh = searcher(home, "profile", "--device", "bench", *QUICK, "--out", "ssh.json")
    assert over_ssh.returncode == 0, over_ssh.stderr
    local = searcher(home, "profile", "--cluster", "fastest", "--threads", "2", *QUICK, "--out", "local.json")
    assert local.returncode == 0, local.stderr
    for run in (over_ssh, local):
        assert "fastest cluster" in run.stderr or "no cluster that is its fastest" in run.stderr
    tables = [TABLE_DOCUMENT.load(home / name) for name in ("ssh.json", "local.json")]
    assert tables[0].key == tables[1].key
    assert [one.provenance.device for one in tables] == ["bench", "local"]
    assert len(tables[0].entries) == 20
    # What the profile says, and what is said without one.
    settings = [hello_settings(home / f"{name}.json.journal.jsonl") for name in ("ssh", "local")]
    assert [(one["threads"], one["max_temperature_c"]) for one in settings] == [(2, 120.0), (2, None)]


def hello_settings(journal: Path) -> dict[str, object]:
    settings: dict[str, object] = json.loads(journal.read_text().splitlines()[0])["settings"]
    return settings
