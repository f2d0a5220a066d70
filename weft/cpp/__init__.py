"""C++ project trees -> ordered documents that still compile (`weft cpp`).

Pure functions on bytes lie at the bottom (items, symbols), projects above them, engines and files at the top.
"""
