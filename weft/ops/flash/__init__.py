"""Full and sliding attention by somebody else's flash kernels: torch's own on CPU and GPU, FlashAttention 2 and 3."""
