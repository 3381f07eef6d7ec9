import errno

import pytest

from utraced.errors import (
    BadAddress,
    InternalError,
    LimitExceeded,
    NoSuchProcess,
    PermissionDenied,
    TimedOut,
    Unsupported,
)
from utraced.linux.errno_errors import error_of, errors_of

TABLE = [
    (errno.ESRCH, {}, NoSuchProcess, {}),
    (errno.ENOENT, {}, NoSuchProcess, {}),
    (errno.EPERM, {}, PermissionDenied, {"reason": "policy"}),
    (errno.EACCES, {"pid": 5}, PermissionDenied, {"reason": "policy"}),
    (errno.EIO, {"address": 4096, "done": 3}, BadAddress, {"address": "0x1000", "done": 3}),
    (errno.EFAULT, {"address": 0}, BadAddress, {"address": "0x0"}),
    (errno.EIO, {}, InternalError, {}),
    (errno.ENOSYS, {"feature": "bpf"}, Unsupported, {"feature": "bpf"}),
    (errno.EMFILE, {}, LimitExceeded, {"limit": "open_files"}),
    (errno.ENOSPC, {}, LimitExceeded, {"limit": "kernel_resources"}),
    (errno.ETIMEDOUT, {}, TimedOut, {}),
    (errno.EINVAL, {}, InternalError, {}),
    (12345, {}, InternalError, {}),
    (None, {}, InternalError, {}),
]


@pytest.mark.parametrize(("number", "where", "kind", "data"), TABLE)
def test_every_errno_is_one_error(number, where, kind, data):
    error = error_of(OSError(number, "text"), **where)
    assert type(error) is kind
    assert data.items() <= error.data.items()
    assert error.message
    assert error.hint


def test_the_reason_of_a_refusal_is_asked_for():
    told = PermissionDenied("no", reason="yama")
    asked = []

    def why(pid):
        asked.append(pid)
        return told

    assert error_of(PermissionError(errno.EPERM, "x"), pid=7, why_denied=why) is told
    with pytest.raises(PermissionDenied) as caught, errors_of(8, why_denied=why):
        raise PermissionError(errno.EPERM, "x")
    assert caught.value is told
    assert asked == [7, 8]


def test_other_exceptions_pass():
    with pytest.raises(KeyError), errors_of(8):
        raise KeyError
