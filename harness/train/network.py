"""The network of a run: built for its data, loaded with what it was before, and handed to the strategy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from harness import spec, strategies
from harness.hookspecs import NotApplicable
from harness.strategies.source import Source, fit_state
from harness.train.device import apart, reseed
from harness.train.feed import Pair
from harness.train.parts import Parts, options
from harness.train.returned import as_network, check_new


class Inapplicable(Exception):
    """The strategy has no meaning on the model; says why in words."""


@dataclass(frozen=True)
class Blueprint:
    """All that the network of a run follows from."""

    payload: Mapping[str, Any]
    parts: Parts
    example: Pair
    """One training example on the run's device: inputs (1, ...), targets (1, ...)."""
    classes: int | None
    source: Source | None

    @property
    def problem(self) -> Mapping[str, Any]:
        """The spec's."""
        return self.payload["problem"]  # type: ignore[no-any-return]

    @property
    def outputs(self) -> int:
        """One a class, or those of a target."""
        return self.classes if self.classes is not None else math.prod(self.example[1].shape[1:])

    @property
    def start(self) -> Source | None:
        """What the network's weights come from; None where they are drawn."""
        return self.source if self.parts.strategy.start == "source" else None

    def build(self) -> nn.Module:
        """The model on the run's device, with the weights and the head of its source if it starts from one.

        Raises:
            BadOutput: the part built something else.
            PluginError: the source's weights are of another model.
        """
        reseed(self.payload["seeds"]["init"])
        model = self._built(self.outputs if self.start is None else self.start.outputs)
        if self.start is not None:
            fit_state(model, self.start.state, name=self.problem["model"]["use"])
        return self._placed(model)

    def build_source(self) -> nn.Module:
        """The source's network with its weights, beside the one that is trained."""
        assert self.source is not None
        with apart(self.payload["seeds"]["init"]):
            model = self._built(self.source.outputs)
        model.load_state_dict(self.source.state)
        return self._placed(model)

    def hand_over(self, model: nn.Module, *, steps: int) -> strategies.Transfer:
        """The model with the head that the problem needs, ready to be trained by the strategy.

        Raises:
            Inapplicable: the strategy says that it has no meaning on this model.
            PluginError: the strategy breaks its contract.
        """
        try:
            return strategies.prepare(
                self.parts.strategy,
                model,
                input_example=self.example[0],
                head=self.parts.model.head,
                steps=steps,
                options=options(self.problem["strategy"]),
                generator=torch.Generator().manual_seed(self.payload["seeds"]["noise"]),
                stages=self.problem.get("stages", 5),
                norm=self.problem.get("norm", "follow"),
                blocks=self.parts.model.blocks,
                new_head=self._new_head(),
            )
        except NotApplicable as error:
            raise Inapplicable(str(error)) from error

    def _new_head(self) -> strategies.NewHead | None:
        """How the head is replaced, with draws of its own: arms share them whatever their strategies draw."""
        if self.source is None:
            return None
        generator = torch.Generator().manual_seed(spec.seed(self.payload["seeds"]["init"], "head"))
        init = self.problem["head_init"]
        if init == "keep" and self.parts.strategy.start == "random":
            init = "default"  # there is none to keep
        return strategies.NewHead(self.outputs, init, generator)

    def _built(self, outputs: int) -> nn.Module:
        made = self.parts.model.build(tuple(self.example[0].shape[1:]), outputs, **options(self.problem["model"]))
        found = as_network(self.problem["model"]["use"], made)
        check_new(self.problem["model"]["use"], found)
        return found

    def _placed(self, model: nn.Module) -> nn.Module:
        """On the device; images are channels-last."""
        inputs = self.example[0]
        layout = torch.channels_last if inputs.dim() == 4 else torch.preserve_format
        return model.to(inputs.device).to(memory_format=layout)
