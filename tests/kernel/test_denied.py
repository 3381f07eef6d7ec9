import os

import pytest

from tests.children import NOBODY, as_user, child, ended, needs_root, own_program, zombie
from utraced.errors import NoSuchProcess, PermissionDenied
from utraced.kernel import denied
from utraced.kernel.denied import explained, why_denied
from utraced.kernel.proc import Process
from utraced.linux.errno_errors import refused


@needs_root
def test_the_first_reason_is_told():
    with child(lambda: own_program(1000)) as pid:
        # Its group differs too.
        assert as_user(lambda: why_denied(pid).data["reason"]) == "not_owner"


@needs_root
def test_where_no_reason_is_to_be_seen_only_policy_is_left():
    with child(own_program) as pid:
        assert as_user(lambda: (why_denied(pid).data["reason"], os.getuid())) == ("policy", NOBODY)


def test_what_has_ended():
    assert why_denied(ended()).kind == "no_such_process"
    with zombie() as pid:
        assert why_denied(pid).kind == "no_such_process"


@needs_root
def test_a_denied_read_is_explained():
    def ask(pid):
        try:
            with explained(pid), Process(pid) as process:
                process.read("environ")
        except PermissionDenied as error:
            return error.reason, type(error.__cause__).__name__
        return None

    with child(lambda: own_program(1000)) as pid:
        assert as_user(lambda: ask(pid)) == ("not_owner", "PermissionError")


def test_other_errors_pass():
    with pytest.raises(NoSuchProcess), explained(1):
        raise NoSuchProcess("x")


def test_hidden_processes(monkeypatch):
    def hidden(pid):
        raise PermissionError(1, "hidepid")

    monkeypatch.setattr(denied, "Process", hidden)
    assert why_denied(1).message == refused("process 1").message
