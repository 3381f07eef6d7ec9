"""Results and errors as strace 6.1 writes them."""

from __future__ import annotations

import pytest

from utraced.syscalls.abi import ABIS
from utraced.syscalls.call import Call
from utraced.syscalls.results import (
    RETURNS_ADDRESS,
    RETURNS_FD,
    RETURNS_HEX,
    RETURNS_INT,
    RETURNS_NONE,
    RETURNS_OCTAL,
    RETURNS_UNSIGNED,
    ReturnsWith,
    errno_name,
    error_text,
    result_text,
)
from utraced.syscalls.signature import Returns


def done(result: int | None, errno: int = 0, abi: str = "x86_64") -> Call:
    """Return a call that returned."""
    return Call(ABIS[abi], 0, (0,) * 6, result=result, errno=errno)


@pytest.mark.parametrize(
    ("returns", "call", "text"),
    [
        (RETURNS_INT, done(3), "3"),
        (RETURNS_FD, done(0), "0"),
        (RETURNS_HEX, done(0), "0"),
        (RETURNS_HEX, done(0x8002), "0x8002"),
        (RETURNS_ADDRESS, done(0x7F0000001000), "0x7f0000001000"),
        (RETURNS_ADDRESS, done(-1 << 31), "0xffffffff80000000"),
        (RETURNS_ADDRESS, done(-1 << 31, abi="i386"), "0x80000000"),
        (RETURNS_OCTAL, done(0), "000"),
        (RETURNS_OCTAL, done(0o22), "022"),
        (RETURNS_OCTAL, done(0o777), "0777"),
        (RETURNS_UNSIGNED, done(-5000), "18446744073709546616"),
        (RETURNS_UNSIGNED, done(-5000, abi="i386"), "4294962296"),
        (RETURNS_NONE, done(0), "?"),
        (RETURNS_INT, done(None), "?"),
        (ReturnsWith(lambda call: "Timeout" if not call.result else None), done(0), "0 (Timeout)"),
        (ReturnsWith(lambda call: "Timeout" if not call.result else None), done(1), "1"),
        (ReturnsWith(lambda _: "flags O_RDWR", RETURNS_HEX), done(2), "0x2 (flags O_RDWR)"),
        (RETURNS_HEX, done(-2, 2), "-1 ENOENT (No such file or directory)"),
    ],
)
def test_results(returns: Returns, call: Call, text: str) -> None:
    assert result_text(call, returns) == text


@pytest.mark.parametrize(
    ("errno", "text"),
    [
        (11, "-1 EAGAIN (Resource temporarily unavailable)"),
        (95, "-1 EOPNOTSUPP (Operation not supported)"),
        (512, "? ERESTARTSYS (To be restarted if SA_RESTART is set)"),
        (513, "? ERESTARTNOINTR (To be restarted)"),
        (514, "? ERESTARTNOHAND (To be restarted if no handler)"),
        (516, "? ERESTART_RESTARTBLOCK (Interrupted by signal)"),
        (524, "-1 ENOTSUPP (Unknown error 524)"),
        (2000, "-1 ERRNO_2000 (Unknown error 2000)"),
    ],
)
def test_errors(errno: int, text: str) -> None:
    assert error_text(errno) == text
    assert error_text(errno) == text


def test_names_of_errors() -> None:
    assert errno_name(2) == "ENOENT"
    assert errno_name(2000) == "ERRNO_2000"
