"""How much memory the processes may take that read code for us: libclang and compilers."""

import resource


def address_space(mib: int) -> int:
    """MiB of address space that a process can be limited to: `mib`, or the system's hard limit where that is lower.

    Only the superuser may set a limit above the hard one (setrlimit(2), `ulimit -Hv`).
    """
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    return mib if hard == resource.RLIM_INFINITY else min(mib, hard >> 20)
