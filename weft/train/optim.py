"""Which parameter is stepped by which rule, at which rate, with or without decay; and the optimizers as one.

Matrices are the weights of `nn.Linear`. Only they decay, and only they (the output head apart) may go to Muon. The
rest, embeddings, norms, biases, gates' biases and learned positions, are AdamW's and never decay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from weft.train.config import OptimizerConfig
from weft.train.muon import Muon

HEAD = "lm_head"


@dataclass
class Group:
    """Parameters that are stepped alike.

    Args:
        name: for people: `matrices (muon)`.
        rule: `adamw` or `muon`.
        learning_rate: the peak.
        weight_decay: decoupled, times the learning rate.
        parameters: name in the model -> parameter.
    """

    name: str
    rule: str
    learning_rate: float
    weight_decay: float
    parameters: dict[str, nn.Parameter] = field(default_factory=dict)


def group_parameters(model: nn.Module, config: OptimizerConfig) -> list[Group]:
    """Every trainable parameter in exactly one group; a shared one counts where its first name stands."""
    rate = config.learning_rate
    groups = {
        "embedding": Group("embedding", "adamw", config.embedding_learning_rate or rate, 0.0),
        "head": Group("head", "adamw", config.head_learning_rate or rate, config.weight_decay),
        "matrix": Group("matrices", "adamw", rate, config.weight_decay),
        "vector": Group("vectors", "adamw", rate, 0.0),
    }
    if config.name == "muon":
        groups["matrix"] = Group("matrices", "muon", config.muon_learning_rate, config.muon_weight_decay)
    owners = {f"{path}.{name}".lstrip("."): owner for path, owner, name in _owned(model)}
    for name, parameter in model.named_parameters():  # yields a shared parameter once
        if parameter.requires_grad:
            groups[_kind(name, owners[name])].parameters[name] = parameter
    return [group for group in groups.values() if group.parameters]


class Optimizers:
    """The optimizers of a model behind one face; their state is kept by the parameters' names.

    Args:
        model: its parameters are stepped in place.
        config: which rules, rates and decays.
    """

    def __init__(self, model: nn.Module, config: OptimizerConfig) -> None:
        self.groups = group_parameters(model, config)
        self.parameters = [parameter for group in self.groups for parameter in group.parameters.values()]
        self._peak = config.learning_rate
        self._by_rule: list[tuple[list[Group], torch.optim.Optimizer]] = []
        adamw = [group for group in self.groups if group.rule == "adamw"]
        if adamw:
            fused = all(parameter.device.type in ("cpu", "cuda") for parameter in self.parameters)
            # One pass over each parameter's memory; on a CPU it takes a third to a fifth of the time of the others.
            rule = torch.optim.AdamW(
                _settings(adamw), lr=config.learning_rate, betas=config.betas, eps=config.eps, fused=fused
            )
            self._by_rule.append((adamw, rule))
        if muon := [group for group in self.groups if group.rule == "muon"]:
            self._by_rule.append((muon, Muon(_settings(muon), lr=1.0, momentum=config.muon_momentum)))

    def set_rate(self, factor: float) -> float:
        """Every group's rate becomes `factor` times its peak. Returns the one that the metrics show (AdamW's)."""
        for groups, optimizer in self._by_rule:
            for group, settings in zip(groups, optimizer.param_groups, strict=True):
                settings["lr"] = group.learning_rate * factor
        return self._peak * factor

    def step(self) -> Iterator[str]:
        """Steps rule after rule and yields each one's name when it is done; nothing happens until it is iterated."""
        for groups, optimizer in self._by_rule:
            optimizer.step()
            yield groups[0].rule

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Parameter name -> its moments (tensors, not copies)."""
        return {
            name: dict(optimizer.state[parameter])
            for groups, optimizer in self._by_rule
            for group in groups
            for name, parameter in group.parameters.items()
            if parameter in optimizer.state
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`.

        Raises:
            ValueError: moments of a parameter that this model does not have.
        """
        known = {name for group in self.groups for name in group.parameters}
        if unknown := sorted(set(state) - known):
            raise ValueError(f"the optimizer's state holds unknown parameters: {', '.join(unknown)}")
        for groups, optimizer in self._by_rule:
            names = [name for group in groups for name in group.parameters]
            settings = optimizer.state_dict()[
                "param_groups"
            ]  # rates come from the config and the schedule, not from disk
            moments = {index: dict(state[name]) for index, name in enumerate(names) if name in state}
            optimizer.load_state_dict({"state": moments, "param_groups": settings})


def clip_gradients(parameters: list[nn.Parameter], norm: Tensor, longest: float) -> None:
    """Scales the gradients down to the Euclidean norm `longest` if `norm`, theirs, is longer. 0: leaves them."""
    if longest > 0:
        torch.nn.utils.clip_grads_with_norm_(parameters, longest, norm)


def gradient_norm(parameters: list[nn.Parameter]) -> Tensor:
    """Euclidean norm over all gradients, a scalar on their device; not finite if any of them is not."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)


def _owned(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """(path of the owner, owner, name there) of every parameter."""
    for path, module in model.named_modules():
        for name, _ in module.named_parameters(recurse=False):
            yield path, module, name


def _kind(name: str, owner: nn.Module) -> str:
    if isinstance(owner, nn.Embedding):
        return "embedding"
    if isinstance(owner, nn.Linear) and name.endswith("weight"):
        return "head" if HEAD in name.split(".") else "matrix"
    return "vector"


def _settings(groups: list[Group]) -> list[dict[str, Any]]:
    return [
        {"params": list(group.parameters.values()), "lr": group.learning_rate, "weight_decay": group.weight_decay}
        for group in groups
    ]
