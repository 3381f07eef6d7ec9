from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from utracectl.messages import Failure
from utracectl.output import Output, open_output


def test_a_file_is_made_and_emptied(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old text that is longer")
    output = open_output(str(path))
    output.write("new ü \udcff\n")
    output.write(b"\xff\n")
    assert path.read_bytes() == "new ü \\udcff\n".encode() + b"\xff\n"


@pytest.mark.parametrize("path", ["/nowhere/x", "/", "nul\0"])
def test_what_cannot_be_written(path: str) -> None:
    with pytest.raises(Failure, match="cannot write to"):
        open_output(path)


def test_a_failure_is_told_once(capfd: pytest.CaptureFixture[str]) -> None:
    output = open_output("/dev/full")
    output.write("a")
    output.write("b")
    assert output.failed
    assert capfd.readouterr().err == (
        "utracectl: cannot write to /dev/full (No space left on device): the trace ends here\n"
    )


def test_a_pipe_that_somebody_made_non_blocking() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    data = os.urandom(1 << 18)
    got = bytearray()

    def drain() -> None:
        while chunk := os.read(read, 65536):
            got.extend(chunk)

    reader = threading.Thread(target=drain)
    reader.start()
    Output(write, "pipe").write(data)
    os.close(write)
    reader.join()
    os.close(read)
    assert bytes(got) == data
