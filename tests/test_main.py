import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.children import fork
from utraced import main as module
from utraced.main import USAGE, main
from utraced.version import VERSION

ROOT = Path(__file__).resolve().parent.parent


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"utraced {VERSION}\n"


def test_what_to_do_without_arguments(capsys, monkeypatch):
    monkeypatch.delenv("LISTEN_PID", raising=False)
    assert main([]) == USAGE
    assert "utracectl" in capsys.readouterr().err


def test_another_machine_is_told_so(capsys, monkeypatch):
    monkeypatch.setattr(module, "unsupported_machine", lambda: "utraced does not run here")
    assert main(["--connected", "3"]) == 1
    assert capsys.readouterr().err == "utraced: utraced does not run here\n"


@pytest.mark.parametrize("words", [["--connected", "x"], ["--nothing"], ["more"]])
def test_wrong_words_are_told(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == USAGE
    assert "usage: utraced" in capsys.readouterr().err


def test_a_place_where_it_cannot_listen(capsys, tmp_path):
    assert main(["--socket", str(tmp_path / "no" / "socket")]) == 1
    assert capsys.readouterr().err.startswith("utraced: ")


def test_a_wrong_configuration_is_told(capsys, tmp_path):
    (tmp_path / "toml").write_text("\n[limit]\n")
    assert main(["--config", str(tmp_path / "toml"), "--socket", str(tmp_path / "socket")]) == 1
    assert (
        capsys.readouterr().err == f"utraced: {tmp_path / 'toml'}: line 2: limit: unknown key, did you mean limits?\n"
    )
    assert not (tmp_path / "socket").exists()


@pytest.mark.parametrize("option", ["--connected", "--template"])
def test_a_descriptor_that_is_none_is_told(option, capsys):
    with open(os.devnull, "rb") as file:
        assert main([option, str(file.fileno())]) == 1
        assert capsys.readouterr().err == (
            f"utraced: the descriptor {file.fileno()} is no socket: Socket operation on non-socket\n"
        )
    assert main([option, "-1"]) == 1


def test_it_serves_a_connected_socket():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = fork()
    if pid == 0:
        code = 1
        try:
            ours.close()
            code = main(["--connected", str(theirs.detach())])
        finally:
            os._exit(code)
    theirs.close()
    ours.settimeout(30)
    with ours:
        ours.send(b'{"jsonrpc": "2.0", "id": 1, "method": "daemon.hello"}')
        assert msgspec.json.decode(ours.recv(1 << 18))["result"]["tracer_pid"] == pid
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_it_is_a_module_to_run():
    done = subprocess.run(
        [sys.executable, "-m", "utraced", "--version"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"utraced {VERSION}\n")
