"""A model and its tokenizer from what a user names: a run's folder, or a folder with an exported model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from weft.cli.parser import did_you_mean

if TYPE_CHECKING:
    import torch

    from weft.data import Tokenizer
    from weft.model import Decoder


class Loaded(NamedTuple):
    """Args:
    model: on the device asked for.
    tokenizer: the one it was trained with.
    path: the checkpoint or file that the weights came from.
    """

    model: Decoder
    tokenizer: Tokenizer
    path: Path


def load(run: str, *, device: str = "auto") -> Loaded:
    """The newest valid checkpoint of a run, or an exported model.

    Args:
        run: a run's folder, or one with config.json, model.safetensors and the tokenizer's files.
        device: as torch names it; auto: a GPU if there is one.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: a folder that is neither.
    """
    folder = Path(run)
    if not folder.is_dir():
        siblings = [path.name for path in folder.parent.iterdir()] if folder.parent.is_dir() else []
        raise FileNotFoundError(2, f"there is no run or model folder{did_you_mean(folder.name, siblings)}", run)

    place = _device(device)
    if (folder / "model.safetensors").is_file():
        from weft.data import load_tokenizer
        from weft.model import Decoder

        return Loaded(Decoder.load(folder, place), load_tokenizer(str(folder)), folder / "model.safetensors")
    if (folder / "checkpoints").is_dir():
        from weft.train.checkpoint import load_run

        model, tokenizer, info = load_run(folder, device=place)
        return Loaded(model, tokenizer, info["checkpoint"])
    raise ValueError(
        f"{run} is neither a run (it has no checkpoints/) nor an exported model (it has no model.safetensors); "
        "a run's first checkpoint appears after train.checkpoint_every steps"
    )


def _device(asked: str) -> torch.device:
    import torch

    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
    except RuntimeError:
        raise ValueError(f"--device is {asked!r}; expected auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and torch.cuda.device_count() <= (device.index or 0):
        raise ValueError(f"--device is {asked!r}, but torch sees {torch.cuda.device_count()} CUDA devices; try auto")
    return device
