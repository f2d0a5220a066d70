from .build import build_attention as build_attention
from .config import AttentionConfig as AttentionConfig
from .config import FullConfig as FullConfig
from .config import LatentConfig as LatentConfig
from .config import NativeSparseConfig as NativeSparseConfig
from .config import RopeConfig as RopeConfig
from .config import SlidingConfig as SlidingConfig
from .full import FullAttention as FullAttention
from .latent import LatentAttention as LatentAttention
from .native_sparse import NativeSparseAttention as NativeSparseAttention
from .protocol import AttentionCache as AttentionCache
from .protocol import AttentionModule as AttentionModule
from .sliding import SlidingWindowAttention as SlidingWindowAttention
from .statistics import Statistics as Statistics

__all__ = [
    "AttentionCache",
    "AttentionConfig",
    "AttentionModule",
    "FullAttention",
    "FullConfig",
    "LatentAttention",
    "LatentConfig",
    "NativeSparseAttention",
    "NativeSparseConfig",
    "RopeConfig",
    "SlidingConfig",
    "SlidingWindowAttention",
    "Statistics",
    "build_attention",
]
