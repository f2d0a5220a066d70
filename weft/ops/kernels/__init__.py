"""Triton kernels shared by the ops' `triton` backends, and how they are chosen, tuned and launched.

Importing this package imports no Triton: the modules in `jit` do, and the first call imports them.
"""
