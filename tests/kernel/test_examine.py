import os
from contextlib import contextmanager

import pytest

from tests.children import NOBODY, as_user, become, child, ended, libc, needs_root, own_program, set_name, zombie
from tests.kernel.test_obstacles import keep_capability
from tests.kernel.test_questions import forbid
from utraced.errors import NoSuchProcess, PermissionDenied
from utraced.kernel import allowed, questions, yama
from utraced.kernel.denied import why_denied
from utraced.kernel.examine import Seen, examine, judge
from utraced.kernel.obstacles import Obstacle
from utraced.kernel.proc import Process
from utraced.linux.prctl import no_new_privs

NR_SYNC = 162
CLONE_NEWPID, CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWUSER = 0x2000_0000, 0x0002_0000, 0x0400_0000, 0x1000_0000


def told(pid):
    """Return what is found, as plain values that can leave the process that asks."""
    found = examine(pid)
    findings = {}
    for finding in found.findings:
        findings.setdefault(finding.subject, (finding.verdict, finding.text, finding.hint, finding.reason))
    return findings, (found.conclusion.verdict, found.conclusion.text, found.conclusion.hint, found.conclusion.reason)


def refusals(pid):
    findings, conclusion = told(pid)
    return {subject: reason for subject, (verdict, _, _, reason) in findings.items() if verdict == "no"}, conclusion


@contextmanager
def traced(pid):
    def seize():
        assert libc().ptrace(0x4206, pid, 0, 0) == 0

    with child(seize) as tracer:
        yield tracer


@needs_root
@pytest.mark.parametrize(
    ("prepare", "against"),
    [
        (own_program, {}),
        (lambda: own_program(1000, NOBODY), {"owner": "not_owner", "kernel": None}),
        (lambda: own_program(NOBODY, 1000), {"group": "group_differs", "kernel": None}),
        (keep_capability, {"capabilities": "capabilities", "kernel": None}),
        (lambda: become(NOBODY), {"dumpable": "not_dumpable", "kernel": None}),
        (
            lambda: become(1000),
            {"owner": "not_owner", "group": "group_differs", "dumpable": "not_dumpable", "kernel": None},
        ),
    ],
    ids=["own", "owner", "group", "capability", "dumpable", "three"],
)
def test_a_user_is_told_all_that_is_in_the_way(prepare, against):
    with child(prepare) as pid:
        found, (verdict, text, hint, reason) = as_user(lambda: refusals(pid))
    assert found == against
    assert str(pid) in text
    if against:
        assert (verdict, reason) == ("no", next(iter(against.values())))
        assert text.startswith("You cannot trace process ")
        assert hint
    else:
        assert (verdict, hint, reason) == ("works", None, None)


@needs_root
def test_a_refusal_and_the_findings_have_one_text():
    with child(lambda: own_program(1000)) as pid:

        def ask():
            error, findings = why_denied(pid), told(pid)[0]
            return findings["owner"], (error.message, error.hint, error.reason)

        finding, error = as_user(ask)
    assert finding == ("no", *error)


@needs_root
def test_what_does_not_matter_to_root():
    with child(lambda: become(1000)) as pid:
        findings, conclusion = told(pid)
    assert {verdict for verdict, *_ in findings.values()} == {"works"}
    assert "1000" in findings["owner"][1]
    assert "CAP_SYS_PTRACE" in findings["dumpable"][1]
    assert conclusion[0] == "works"


def test_another_tracer():
    with child() as pid, traced(pid) as tracer:
        found, (_, text, hint, reason) = refusals(pid)
        assert found == {"tracer": "traced_by_other"}
        assert f"({tracer})" in text
        assert hint
        assert reason == "traced_by_other"


@needs_root
def test_each_remedy_is_told_once():
    with child(lambda: become(1000)) as pid, traced(pid):
        _, (_, text, hint, _) = as_user(lambda: refusals(pid))
    assert text.count(";") == 3
    assert hint.startswith("Ask root or that user")
    assert "that tracer" in hint
    assert "newgrp" not in hint


def test_oneself():
    found, conclusion = refusals(os.getpid())
    assert found == {"process": "would_deadlock"}
    assert conclusion[0] == "no"


def test_what_has_ended():
    with zombie() as pid:
        findings, (verdict, text, _, _) = told(pid)
    assert findings["process"][0] == verdict == "no"
    assert findings["kernel"][0] == "unknown"
    assert "has ended" in text
    with pytest.raises(NoSuchProcess):
        examine(ended())


def test_a_reused_pid():
    with child() as pid:
        with Process(pid) as process:
            started = process.stat().start_time
        examine(pid, started)
        with pytest.raises(NoSuchProcess):
            examine(pid, started + 1)


@needs_root
def test_a_thread_of_the_kernel():
    found, (verdict, text, _, _) = refusals(2)
    assert found == {"process": "policy"}
    assert "kernel" in text
    assert verdict == "no"


@pytest.mark.parametrize(
    ("prepare", "verdict", "text"),
    [
        (lambda: None, "works", "it is not confined"),
        (no_new_privs, "works", "no_new_privs is set: it can be traced all the same"),
        (
            lambda: forbid(NR_SYNC),
            "limited",
            "no_new_privs is set, a seccomp filter is installed: it can be traced all the same",
        ),
    ],
    ids=["no", "no_new_privs", "seccomp"],
)
def test_how_it_is_confined(prepare, verdict, text):
    with child(prepare) as pid:
        findings, conclusion = told(pid)
    assert findings["seccomp"][:2] == (verdict, text)
    assert conclusion[0] == "works"


@needs_root
def test_namespaces():
    def unshare(flags):
        assert libc().unshare(flags) == 0

    with child() as pid:
        assert told(pid)[0]["namespaces"][0] == "works"
    with child(lambda: unshare(CLONE_NEWNS | CLONE_NEWUTS)) as pid:
        verdict, text, hint, _ = told(pid)[0]["namespaces"]
        assert (verdict, text) == ("limited", "not the daemon's: mnt, uts")
        assert hint == "Paths are as it sees them."
        assert as_user(lambda: told(pid)[0]["namespaces"][0]) == "unknown"
    with child(lambda: unshare(CLONE_NEWUTS)) as pid:
        assert told(pid)[0]["namespaces"][:3] == ("works", "not the daemon's: uts", None)


@needs_root
def test_a_root_of_its_own_user_namespace():
    """Its creator may trace it there, whatever its ids are: only the kernel knows."""

    def prepare():
        own_program()
        assert libc().unshare(CLONE_NEWUSER) == 0
        libc().prctl(4, 1, 0, 0, 0)

    with child(prepare) as pid:
        found, asked = as_user(lambda: (told(pid), questions.may_access(pid)))
    findings, conclusion = found
    assert (findings["kernel"][0] == "works") is asked
    assert (conclusion[0] == "works") is asked


def judged(pid, *, access, found):
    """Return what is made of an answer of the kernel."""

    with Process(pid) as process, Process(os.getpid()) as own:
        seen = Seen(pid, process.stat(), process.status(), own.status(), (), (), bound=False)
        return judge(seen, found, access=access)


def test_the_kernel_refuses_and_nothing_says_why(monkeypatch):
    monkeypatch.setattr(allowed, "modules", lambda: "lockdown,apparmor")
    with child() as pid:
        found = judged(pid, access=False, found=[])
    finding = found.findings[-1]
    assert (finding.subject, finding.verdict, finding.reason) == ("kernel", "no", "policy")
    assert "apparmor" in finding.text
    assert finding.hint == found.conclusion.hint
    assert (found.conclusion.verdict, found.conclusion.reason) == ("no", "policy")


def test_the_kernel_allows_what_was_not_expected():
    """As Yama does for a process that named us."""
    error = PermissionDenied("Yama forbids it", reason="yama", hint="Do this.")
    with child() as pid:
        found = judged(pid, access=True, found=[Obstacle("yama", error)])
    [yamas] = [finding for finding in found.findings if finding.subject == "yama"]
    assert (yamas.verdict, yamas.hint) == ("limited", None)
    assert "but the kernel allows" in yamas.text
    assert "against what" in found.findings[-1].text
    assert found.conclusion.verdict == "works"


def test_that_access_is_allowed_does_not_let_go_of_a_tracer():
    error = PermissionDenied("it is traced", reason="traced_by_other", hint="Do this.")
    with child() as pid:
        found = judged(pid, access=True, found=[Obstacle("tracer", error)])
    assert (found.conclusion.verdict, found.conclusion.reason) == ("no", "traced_by_other")


def test_a_sandbox_around_the_daemon(monkeypatch):
    monkeypatch.setattr(questions, "may_ptrace", lambda: False)
    with child() as pid:
        found, conclusion = refusals(pid)
    assert found["daemon"] == "policy"
    assert "seccomp" in conclusion[1]


def test_yama_where_it_does_not_matter(monkeypatch):
    monkeypatch.setattr(yama, "present", lambda: True)
    with child() as pid:
        assert told(pid)[0]["yama"][:2] == ("works", "it does not stand in the way")


def test_names_are_passed_on_as_they_are():
    with child(lambda: set_name(b"a\x1b[1m\xff")) as pid:
        findings, conclusion = told(pid)
    assert findings["process"][1].startswith("a\x1b[1m\\xff, ")
    assert "a\x1b[1m\\xff" in conclusion[1]
