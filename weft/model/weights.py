"""Weights on disk: `model.safetensors` beside `config.json`. Nothing that is read here can execute code.

A head that shares the embedding's matrix is not written a second time; reading joins the two again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from weft.model.config import ModelConfig

if TYPE_CHECKING:
    from weft.model.decoder import Decoder

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
_SHOWN = 4  # names in an error message before "and 12 more"


def save(model: Decoder, folder: Path) -> None:
    """Writes both files; each replaces an older one only when it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in own_tensors(model).items()}
    _replace(folder / WEIGHTS_FILE, lambda path: save_file(tensors, path, metadata={"format": "pt"}))
    _replace(folder / CONFIG_FILE, lambda path: path.write_text(model.config.to_json(), encoding="utf-8"))


def read_config(folder: Path) -> ModelConfig:
    """The `config.json` of a saved model.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no JSON, or not a model's configuration.
    """
    path = folder / CONFIG_FILE
    try:
        return ModelConfig.from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no model configuration of Weft's: {error}") from error


def load_weights(model: Decoder, folder: Path, dtype: torch.dtype | None = None) -> None:
    """Puts the weights of `model.safetensors` into a model of the same configuration, on the model's device.

    Args:
        model: its own values are replaced, not copied over: it may come from the meta device by way of `to_empty`.
        folder: holds the file.
        dtype: of the weights; none: as saved.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, or tensors that are missing, unknown or of another shape.
    """
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise FileNotFoundError(2, "there are no weights", str(path))
    try:
        found = load_file(path, device=str(model.embed_tokens.weight.device))
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged, or no safetensors file: {error}") from error
    wanted = own_tensors(model)
    problems = [
        f"{what} {_some(names)}"
        for what, names in (
            ("it lacks", [name for name in wanted if name not in found]),
            ("it has the unknown", [name for name in found if name not in wanted]),
            (
                "of another shape are",
                [
                    f"{name} ({list(found[name].shape)}, expected {list(wanted[name].shape)})"
                    for name in wanted
                    if name in found and found[name].shape != wanted[name].shape
                ],
            ),
        )
        if names
    ]
    if problems:
        raise ValueError(f"{path} does not fit {CONFIG_FILE} beside it: {'; '.join(problems)}")
    if dtype is not None:
        found = {name: tensor.to(dtype) for name, tensor in found.items()}
    model.load_state_dict(found, strict=False, assign=True)  # strict was settled above, with a tied head in mind
    model.tie()


def own_tensors(model: Decoder) -> dict[str, torch.Tensor]:
    """The state of the model by name, a matrix that embedding and head share only once."""
    state = model.state_dict()
    if model.config.tie_embeddings:
        del state["lm_head.weight"]
    return state


def weights_sha256(model: Decoder) -> str:
    """Hexadecimal SHA-256 over the name, dtype, shape and bytes of every tensor, in the order of the names.

    It says which weights are in use, whatever file format, device or process they came through.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(own_tensors(model).items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    partial = path.with_name(path.name + ".partial")
    write(partial)
    os.replace(partial, path)


def _some(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
