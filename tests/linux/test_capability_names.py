import re
from pathlib import Path

import pytest

from utraced.linux.capability_names import capability_names

HEADER = Path("/usr/include/linux/capability.h")


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        (0, ""),
        (1, "CAP_CHOWN"),
        (1 << 13 | 1 << 19, "CAP_NET_RAW CAP_SYS_PTRACE"),
        (1 << 40, "CAP_CHECKPOINT_RESTORE"),
        (1 << 41, "0x20000000000"),
        (1 | 1 << 63, "CAP_CHOWN 0x8000000000000000"),
        (0b11111, "CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID"),
        (0b111111, "CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER and 2 more"),
        ((1 << 40) - 1, "CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER and 36 more"),
        ((1 << 41) - 1, "all"),
        ((1 << 64) - 1, "all"),
    ],
)
def test_names(mask, names):
    assert capability_names(mask) == names


@pytest.mark.skipif(not HEADER.exists(), reason="the kernel's header is not installed (linux-libc-dev)")
def test_the_numbers_are_the_kernel_s():
    found = re.findall(r"^#define (CAP_[A-Z_]+)\s+(\d+)$", HEADER.read_text(), re.MULTILINE)
    assert len(found) > 30
    for name, number in found:
        assert capability_names(1 << int(number)) == name
