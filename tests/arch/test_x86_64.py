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
    printf("%d %zu %zu %zu\\n", NT_X86_XSTATE, offsetof(struct user_regs_struct, rax),
           offsetof(struct user_regs_struct, orig_rax), offsetof(struct user_regs_struct, rip));
#define PLACE(name) printf("%zu ", offsetof(struct user_regs_struct, name))
    PLACE(rdi), PLACE(rsi), PLACE(rdx), PLACE(r10), PLACE(r8), PLACE(r9);
    PLACE(rbx), PLACE(rcx), PLACE(rdx), PLACE(rsi), PLACE(rdi), PLACE(rbp);
}
"""


def test_offsets_and_numbers_are_those_of_the_headers(tmp_path):
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is missing: install it to compare with the headers")
    (tmp_path / "numbers.c").write_text(PROGRAM)
    subprocess.run([compiler, "-o", tmp_path / "numbers", tmp_path / "numbers.c"], check=True)
    said = subprocess.run([tmp_path / "numbers"], check=True, capture_output=True, text=True).stdout.split()
    numbers = list(map(int, said))
    offsets, (note, rax, orig_rax, rip), arguments = numbers[:8], numbers[8:12], numbers[12:]
    assert (rax, orig_rax, rip) == (x86_64.RAX, x86_64.ORIG_RAX, x86_64.RIP)
    assert arguments == [*x86_64.ARGUMENTS["x86_64"], *x86_64.ARGUMENTS["i386"]]
    assert {f"dr{number}": offsets[number] for number in (0, 1, 2, 3, 6, 7)} == x86_64.DEBUG_OFFSETS
    assert note == x86_64.NT_X86_XSTATE


def test_the_extended_state_of_this_cpu_fits():
    with seized() as found:
        assert len(ptrace.register_set(found.pid, x86_64.NT_X86_XSTATE, x86_64.XSTATE_SIZE)) < x86_64.XSTATE_SIZE


@pytest.mark.parametrize("code", ["0f05", "0f34", "cd80", "480f05", "f30f05", "6667cd80", "0f0590"])
def test_instructions_that_make_calls(code):
    assert x86_64.makes_call(bytes.fromhex(code))


@pytest.mark.parametrize("code", ["", "0f", "90", "900f05", "cd03", "0f0b", "48", "f4"])
def test_instructions_that_make_none(code):
    assert not x86_64.makes_call(bytes.fromhex(code))
