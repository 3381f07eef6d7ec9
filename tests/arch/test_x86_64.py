"""The numbers against the C headers, as the compiler sees them."""

import shutil
import subprocess

import pytest

from tests.kernel.seized import seized
from utraced.arch import x86_64
from utraced.kernel import ptrace

PROGRAM = """
#include <stddef.h>
#include <stdio.h>
#include <elf.h>
#include <sys/user.h>
int main(void) {
    for (int i = 0; i < 8; i++)
        printf("%zu ", offsetof(struct user, u_debugreg) + i * sizeof(long));
    printf("%d\\n", NT_X86_XSTATE);
}
"""


def test_offsets_and_numbers_are_those_of_the_headers(tmp_path):
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is missing: install it to compare with the headers")
    (tmp_path / "numbers.c").write_text(PROGRAM)
    subprocess.run([compiler, "-o", tmp_path / "numbers", tmp_path / "numbers.c"], check=True)
    said = subprocess.run([tmp_path / "numbers"], check=True, capture_output=True, text=True).stdout.split()
    *offsets, note = map(int, said)
    assert {f"dr{number}": offsets[number] for number in (0, 1, 2, 3, 6, 7)} == x86_64.DEBUG_OFFSETS
    assert note == x86_64.NT_X86_XSTATE


def test_the_extended_state_of_this_cpu_fits():
    with seized() as found:
        assert len(ptrace.register_set(found.pid, x86_64.NT_X86_XSTATE, x86_64.XSTATE_SIZE)) < x86_64.XSTATE_SIZE
