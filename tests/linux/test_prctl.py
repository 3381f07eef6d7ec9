import os

from tests.children import isolated
from utraced.linux import prctl


def test_dumpable():
    def change():
        prctl.set_dumpable(0)
        first = prctl.dumpable()
        prctl.set_dumpable(1)
        return first, prctl.dumpable()

    assert isolated(change) == (0, 1)


def test_no_new_privs():
    def change():
        prctl.no_new_privs()
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return [line for line in file if line.startswith("NoNewPrivs")]

    assert isolated(change) == ["NoNewPrivs:\t1\n"]


def test_naming_a_tracer_matters_only_under_yama():
    assert isolated(lambda: prctl.set_ptracer(os.getppid())) == os.path.exists("/proc/sys/kernel/yama")
