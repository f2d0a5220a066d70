"""The kernels themselves. These modules import Triton; nothing imports them before a kernel is to be launched."""
