"""xz: the same bytes as the command line's `xz -9`."""

import lzma
import shutil
import subprocess

import pytest

from weft.evaluate.compression import xz

TEXTS = ["def weave():\n    return 'wöven'\n" * 40, "", "import this\n"]


def test_bits_per_byte_is_what_comes_out_over_what_goes_in():
    data = "".join(TEXTS).encode()
    found = xz(TEXTS)
    assert found.num_bytes == len(data)
    assert found.compressed_bytes == len(lzma.compress(data, preset=9))
    assert found.bits_per_byte == 8 * found.compressed_bytes / len(data)


@pytest.mark.skipif(shutil.which("xz") is None, reason="there is no xz command here")
def test_it_is_the_command_line_s_xz_9():
    data = "".join(TEXTS).encode()
    theirs = subprocess.run(["xz", "-9", "-T1", "-c"], input=data, capture_output=True, check=True).stdout
    assert xz(TEXTS).compressed_bytes == len(theirs)


def test_nothing_to_compress_is_an_error():
    with pytest.raises(ValueError, match="hold no bytes"):
        xz(["", ""])
