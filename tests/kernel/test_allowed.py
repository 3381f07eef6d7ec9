import os

import pytest

from tests.children import as_user, isolated, needs_root
from tests.kernel.test_questions import KILL, NR_PTRACE, forbid
from utraced.arch.x86_64 import NR_BPF, NR_PERF_EVENT_OPEN
from utraced.kernel import allowed, questions, yama
from utraced.kernel.allowed import conclusion, machine, tracing
from utraced.linux import container
from utraced.linux.prctl import no_new_privs


def found(findings):
    """Return findings by subject, as plain values that can leave the process that asks."""
    return {finding.subject: (finding.verdict, finding.text, finding.hint) for finding in findings}


def verdicts(findings):
    return {subject: verdict for subject, (verdict, _, _) in found(findings).items()}


@needs_root
@pytest.mark.parametrize("user", [True, False], ids=["user", "root"])
@pytest.mark.parametrize("scope", [0, 1, 2, 3])
def test_what_yama_lets_us_trace(monkeypatch, scope, user):
    monkeypatch.setattr(yama, "scope", lambda: scope)
    monkeypatch.setattr(yama, "present", lambda: True)

    def ask():
        told = list(tracing())
        return found(told), found(machine()), conclusion(told).verdict, conclusion(told).text

    told, around, verdict, text = as_user(ask) if user else ask()
    running = scope == 0 or (not user and scope < 3)
    started = scope <= 1 or (not user and scope < 3)
    assert told["attach"][0] == ("works" if running else "no")
    assert told["start"][0] == told["ptrace"][0] == ("works" if started else "no")
    for each in told.values():
        assert each[0] == "works" or (str(scope) in each[1] and each[2])
    assert verdict == ("works" if running else "limited" if started else "no")
    assert running or yama.RULES[scope] in text
    assert around["yama"][0] == ("works" if running else "limited" if started else "no")


def test_each_feature_is_told_once():
    names = [finding.feature for finding in tracing()]
    assert names == ["attach_running", "attach_started", "backend.ptrace"]


def test_a_sandbox_forbids_everything():
    def ask():
        forbid(NR_PTRACE)
        told = list(tracing())
        return verdicts(told), conclusion(told).text, found(machine())["seccomp"]

    told, text, seccomp = isolated(ask)
    assert set(told.values()) == {"no"}
    assert "seccomp" in text
    assert seccomp[:2] == ("limited", "of the daemon: no_new_privs is set, a seccomp filter is installed")


@pytest.mark.parametrize(("nr", "subject"), [(NR_BPF, "BPF"), (NR_PERF_EVENT_OPEN, "perf events")])
def test_a_filter_that_kills_for_asking_is_not_provoked(nr, subject):
    def ask():
        forbid(nr, KILL)
        return found(machine())[subject]

    verdict, text, _ = isolated(ask)
    assert (verdict, "not asked" in text) == ("unknown", True)


def test_no_new_privs_alone_is_told():
    def ask():
        no_new_privs()
        return verdicts(tracing()), found(machine())["seccomp"][:2]

    told, seccomp = isolated(ask)
    assert set(told.values()) == {"works"}
    assert seccomp == ("works", "of the daemon: no_new_privs is set")


@needs_root
def test_rights():
    assert found(machine())["privileges"][0] == "works"
    verdict, text, hint = as_user(lambda: found(machine())["privileges"], 1000, 2000)
    assert (verdict, "uid 1000, gid 2000" in text) == ("limited", True)
    assert hint
    assert as_user(lambda: conclusion(list(tracing())).text, 1000) == "You can trace processes of uid 1000."
    assert conclusion(list(tracing())).text == "You can trace processes of every user."


@pytest.mark.parametrize(
    ("kernel", "own", "verdict"), [(True, True, "works"), (False, True, "limited"), (False, False, "no")]
)
def test_events(monkeypatch, tmp_path, kernel, own, verdict):
    (tmp_path / "paranoid").write_text("7\n")
    monkeypatch.setattr(allowed, "_PERF_PARANOID", str(tmp_path / "paranoid"))
    monkeypatch.setattr(questions, "may_count", lambda *, kernel: kernel_may if kernel else own)
    kernel_may = kernel
    told = found(machine())["perf events"]
    assert told[0] == verdict
    assert "perf_event_paranoid is 7" in told[1]


@needs_root
def test_programs_for_the_kernel(monkeypatch):
    monkeypatch.setattr(questions, "may_make_bpf_maps", lambda: True)
    monkeypatch.setattr(allowed, "_BPF_DISABLED", "/nowhere")
    assert found(machine())["BPF"][:2] == ("works", "the kernel lets the daemon load programs")
    assert as_user(lambda: found(machine())["BPF"][0]) == "limited"
    monkeypatch.setattr(questions, "may_make_bpf_maps", lambda: False)
    assert found(machine())["BPF"][0] == "no"


def test_what_the_kernel_shows(monkeypatch, tmp_path):
    (tmp_path / "lsm").write_text("capability,yama,apparmor\n")
    monkeypatch.setattr(allowed, "_MODULES", str(tmp_path / "lsm"))
    monkeypatch.setattr(allowed, "_BTF", str(tmp_path / "lsm"))
    monkeypatch.setattr(allowed, "_TRACEFS", str(tmp_path / "nowhere"))
    told = found(machine())
    assert told["security modules"][:2] == ("works", "the kernel runs capability,yama,apparmor")
    assert told["BTF"][0] == "works"
    assert told["tracefs"][:2] == ("no", f"{tmp_path}/nowhere: No such file or directory")
    with open("/proc/sys/kernel/osrelease") as file:
        assert told["kernel"][1] == f"Linux {file.read().strip()}"
    monkeypatch.setattr(allowed, "_MODULES", "/nowhere")
    assert found(machine())["security modules"][0] == "unknown"


@pytest.mark.parametrize(("signs", "verdict"), [((), "works"), (("a", "b"), "limited")])
def test_containers(monkeypatch, signs, verdict):
    monkeypatch.setattr(container, "signs", lambda: signs)
    told = found(machine())["container"]
    assert told[0] == verdict
    assert ", ".join(signs) in told[1]


def test_without_yama(monkeypatch):
    monkeypatch.setattr(yama, "PATH", "/nowhere")
    assert found(machine())["yama"][:2] == ("works", "this kernel does not run Yama")


def test_looking_changes_nothing():
    before = os.listdir("/proc/self/fd")
    list(machine())
    list(tracing())
    assert os.listdir("/proc/self/fd") == before
