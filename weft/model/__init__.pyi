from .cache import DecoderCache as DecoderCache
from .config import ModelConfig as ModelConfig
from .decoder import Decoder as Decoder
from .describe import Description as Description
from .describe import describe as describe
from .mlp import ReLUSquaredMLP as ReLUSquaredMLP
from .mlp import SwiGLUMLP as SwiGLUMLP
from .norm import DynamicTanh as DynamicTanh
from .norm import RMSNorm as RMSNorm
from .presets import Preset as Preset
from .presets import preset as preset
from .presets import preset_names as preset_names
from .weights import weights_sha256 as weights_sha256

__all__ = [
    "Decoder",
    "DecoderCache",
    "Description",
    "DynamicTanh",
    "ModelConfig",
    "Preset",
    "RMSNorm",
    "ReLUSquaredMLP",
    "SwiGLUMLP",
    "describe",
    "preset",
    "preset_names",
    "weights_sha256",
]
