"""Licences from lines, words and files, and what a policy makes of them."""

import pytest

from weft.cpp.licence import LicencePolicy, licences_in, licences_of

MIT = b"Permission is hereby granted, free of charge, to any person obtaining a copy\nof this software"
BSD = b"Redistribution and use ...\n2. Redistributions in binary form must reproduce the above"


@pytest.mark.parametrize(
    "text, names",
    [
        (b"// SPDX-License-Identifier: MIT\nint a;", ("MIT",)),
        (b"/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause */",
         ("BSD-3-Clause", "GPL-2.0 WITH Linux-syscall-note")),
        (b"// Licensed under the Apache License, Version 2.0 (the \"License\")", ("Apache-2.0",)),
        (MIT, ("MIT",)),
        (MIT.replace(b" ", b"\n//   "), ("MIT",)),
        (BSD, ("BSD-2-Clause",)),
        (BSD + b" Neither the name of X", ("BSD-3-Clause",)),
        (b"Distributed under the Boost Software License, Version 1.0.", ("BSL-1.0",)),
        (b"GNU General Public License version 2, or (at your option) any later version", ("GPL-2.0-or-later",)),
        (b"GNU Lesser General Public License\nversion 3", ("LGPL-3.0-only",)),
        (b"int licence; // no words of one", ()),
    ],
    ids=["spdx", "expression", "apache", "mit", "mit-wrapped", "bsd2", "bsd3", "boost", "gpl-later", "lgpl", "none"],
)  # fmt: skip
def test_what_a_head_says(text, names):
    assert licences_in(text) == names


def test_the_nearest_licence_file_counts_and_the_head_comes_first():
    folders = {"": ("MIT",), "lib": ("Zlib",)}
    assert licences_of(b"int a;", "lib/deep/x.c", folders) == ("Zlib",)
    assert licences_of(b"int a;", "src/x.c", folders) == ("MIT",)
    assert licences_of(b"// SPDX-License-Identifier: ISC\n", "lib/x.c", folders) == ("ISC",)
    assert licences_of(b"int a;", "x.c", {}) == ()


@pytest.mark.parametrize(
    "policy, licences, refusal",
    [
        (LicencePolicy(), (), None),
        (LicencePolicy(deny=("GPL-3.0-only",)), ("GPL-3.0-only", "MIT"), "licence denied (GPL-3.0-only)"),
        (LicencePolicy(allow=("MIT",)), (), "licence unknown"),
        (LicencePolicy(allow=("MIT",)), ("MIT",), None),
        (LicencePolicy(allow=("MIT",)), ("ISC", "MIT"), "licence not allowed (ISC)"),
    ],
    ids=["all", "denied", "unknown", "allowed", "outside"],
)
def test_a_policy(policy, licences, refusal):
    assert policy.refusal(licences) == refusal
