"""Wires the parts of a run, in the state of its newest checkpoint, if the run in the folder is this one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch

from weft.data import Batch, Data, build_data
from weft.model import Decoder
from weft.train.checkpoint import About, Checkpoints, read_about, restore
from weft.train.config import RunConfig
from weft.train.device import choose_device
from weft.train.environment import describe_environment, differences
from weft.train.evaluation import held_out_batches
from weft.train.events import NoEvents
from weft.train.folder import RunFolder
from weft.train.gates import GATE_VALUES, sparse_layers
from weft.train.identity import compare, data_settings_changed, settings_of
from weft.train.introduction import keep_backends, layer_backends
from weft.train.loop import Trainer
from weft.train.nonfinite import NonFinite
from weft.train.optim import Optimizers
from weft.train.precision import choose_precision
from weft.train.progress import Progress, phase
from weft.train.schedule import build_schedule
from weft.train.state import Counters, RandomState, TrainState
from weft.train.stop import Stop
from weft.train.surroundings import Surroundings
from weft.train.telemetry import Metrics
from weft.train.watchdog import Watchdog

_SHOWN = 6  # settings that an error names, where another preset changes dozens


def build_trainer(
    config: RunConfig, folder: RunFolder, around: Surroundings, progress: Progress, stop: Stop
) -> Trainer:
    """All parts of a run. Writes nothing but the data's cache; `folder` is locked.

    Raises:
        ValueError: the folder holds a run with other settings or data, or one whose checkpoints are all broken.
        StopRequested: somebody asked to stop while the data were prepared.
    """
    device = choose_device(config.train.device)
    precision = choose_precision(config.train.precision, device)
    checkpoints = Checkpoints(
        folder.checkpoints, keep_last=config.train.keep_last, files=around.files, reach=around.reach, say=progress.say
    )
    checkpoints.clean()
    newest = checkpoints.newest()
    saved = None if newest is None else read_about(newest)
    if saved is not None:
        _require_same_settings(saved, config, folder, progress)
    data = _build_data(config, folder, progress, stop)
    if saved is not None:
        _require_same_data(saved, data, config, folder)

    _seed(config.seed)
    # The tokenizer decides the vocabulary, and a model is meant for the context that it was trained at.
    shape = replace(config.model, vocab_size=data.tokenizer.vocab_size, max_position_embeddings=config.train.context)
    with phase(progress, "building the model"):
        model = Decoder(shape).to(device)
    optimizers = Optimizers(model, config.optimizer)
    loader = data.loader(batch_size=config.train.batch_size)
    counters, generators = Counters(), RandomState()
    state = TrainState(
        heavy={"model": model, "optimizer": optimizers},
        light={"counters": counters, "loader": loader, "random": generators},
    )
    if newest is not None:
        with phase(progress, f"loading {newest.name}"):
            restore(newest, state)

    if saved is not None:
        for reason in keep_backends(model, saved["environment"]["backends"], device, precision):
            progress.say(f"a backend cannot be kept: {reason}")
    environment = describe_environment(device, precision, layer_backends(model, device, precision))
    if saved is not None:
        for line in differences(saved["environment"], environment):
            progress.say(f"later steps are not equal to the bit: {line}")
    return Trainer(
        config=config,
        folder=folder,
        device=device,
        precision=precision,
        model=model,
        compute=torch.compile(model) if config.train.compile else model,
        optimizers=optimizers,
        schedule=build_schedule(config),
        loader=loader,
        held_out=_held_out(data, config),
        data=data,
        counters=counters,
        random=generators,
        state=state,
        checkpoints=checkpoints,
        about={
            "settings": settings_of(config),
            "data": data.fingerprint,
            "model": shape.to_dict(),
            "environment": environment,
        },
        guard=NonFinite(
            config.train.nonfinite, max_in_a_row=config.train.max_skips, path=folder.nonfinite, say=progress.say
        ),
        metrics=Metrics(
            folder.path, gates={str(layer): GATE_VALUES for layer in sparse_layers(model)}, reach=around.reach
        ),
        events=NoEvents(),
        progress=progress,
        stop=stop,
        watchdog=Watchdog(folder.stacks, 60 * config.train.stall_minutes, around.clock),
        surroundings=around,
    )


def _build_data(config: RunConfig, folder: RunFolder, progress: Progress, stop: Stop) -> Data:
    with phase(progress, "preparing the data"):
        return build_data(
            config.data,
            context=config.train.context,
            seed=config.seed,
            cache_folder=folder.data,
            poll=stop.poll,
            progress=progress.phase,
        )


def _held_out(data: Data, config: RunConfig) -> Callable[[], Iterator[Batch]] | None:
    dataset = data.validation
    if dataset is None:
        return None
    rows = config.train.batch_size // config.train.accumulation
    return lambda: held_out_batches(dataset, rows=config.train.evaluate_rows, batch_size=rows)


def _require_same_settings(saved: About, config: RunConfig, folder: RunFolder, progress: Progress) -> None:
    changes = compare(saved["settings"], config)
    if changes.fatal:
        hidden = len(changes.fatal) - _SHOWN
        more = f"; and {hidden} settings more" if hidden > 0 else ""
        raise ValueError(
            f"{folder.path} holds another run: {'; '.join(changes.fatal[:_SHOWN])}{more}; "
            "go on with the old settings, or choose another folder with --out"
        )
    for line in changes.noted:
        progress.say(f"later steps are not equal to the bit: {line}")


def _require_same_data(saved: About, data: Data, config: RunConfig, folder: RunFolder) -> None:
    if saved["data"] == data.fingerprint:
        return
    changed = data_settings_changed(saved["settings"], config) or ["the files themselves have changed"]
    raise ValueError(
        f"{folder.path} was trained on other data (fingerprint {saved['data'][:12]}, now {data.fingerprint[:12]}): "
        f"{'; '.join(changed)}; go on with the old data, or choose another folder with --out"
    )


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
