from .checkpoint import load_run as load_run
from .config import LoopConfig as LoopConfig
from .config import OptimizerConfig as OptimizerConfig
from .config import RunConfig as RunConfig
from .config import ScheduleConfig as ScheduleConfig
from .config import TelemetryConfig as TelemetryConfig
from .start import RunResult as RunResult
from .start import train as train

__all__ = [
    "LoopConfig",
    "OptimizerConfig",
    "RunConfig",
    "RunResult",
    "ScheduleConfig",
    "TelemetryConfig",
    "load_run",
    "train",
]
