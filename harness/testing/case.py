"""A part under examination: rules, the error that names a broken one, and a guard over global state."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from harness.hookspecs import Choice, Domain, NotApplicable, Part
from harness.registry.catalog import Origin
from harness.registry.describe import describe

Options = Mapping[str, Any] | None


class NonConforming(AssertionError):
    """A part breaks a rule of the contract: `rule` says which, `found` what was seen instead."""

    def __init__(self, part: Part, rule: str, found: str) -> None:
        super().__init__(f"{part.kind} '{part.name}': {rule}; found {found}")
        self.part, self.rule, self.found = part, rule, found


class Case:
    """A part under examination, with the options that it is examined with."""

    def __init__(self, part: Part, options: Options) -> None:
        self.part, self.settings = part, dict[str, Any]()
        self._kept: dict[str, None] = {}
        self.callable: Callable[..., Any] = getattr(part, part.call)
        info = self.run("is plain data but for its callables", describe, part, Origin("", "", "", "", ""))
        in_space = {name: _inner(part.space[name]) for name in info.required if name in part.space}
        self.options: dict[str, Any] = {**in_space, **info.options, **(options or {})}
        missing = [name for name in info.required if name not in self.options]
        self.require(not missing, "every option has a default or a space", f"none for {', '.join(missing)}")

    @property
    def kept(self) -> tuple[str, ...]:
        """The rules that the part was held against and kept, each once, without where it was looked at."""
        return tuple(self._kept)

    def require(self, holds: object, rule: str, found: str) -> None:
        """Refuse the part unless the rule holds; what follows ", here " in a rule is where it was looked at."""
        if not holds:
            raise NonConforming(self.part, rule, found)
        self._kept[rule.partition(", here ")[0]] = None

    def run(self, rule: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What the function returns; whatever it raises breaks the rule, and so does a changed setting."""
        try:
            returned = function(*args, **kwargs)
        except (NonConforming, NotApplicable):
            raise
        except Exception as error:
            raise NonConforming(self.part, rule, f"{type(error).__name__}: {error}") from error
        for name, value in _settings().items():
            due = self.settings.get(name, value)
            self.require(value == due, f"leaves the {name} as it is", f"{due} -> {value}")
        self._kept[rule.partition(", here ")[0]] = None
        return returned

    def finite(self, values: torch.Tensor, rule: str) -> None:
        """Floating-point numbers without nan and infinity."""
        good = values.is_floating_point() and bool(torch.isfinite(values).all())
        self.require(good, rule, f"{values.dtype} {values.detach().flatten()[:4].tolist()} ...")

    def same(self, first: torch.Tensor, second: torch.Tensor, rule: str) -> None:
        """Equal bit for bit."""
        self.require(torch.equal(first, second), rule, _difference(first, second))

    def close(self, first: torch.Tensor, second: torch.Tensor, rule: str) -> None:
        """Equal but for rounding."""
        near = first.shape == second.shape and torch.allclose(first, second, rtol=1e-4, atol=1e-5)
        self.require(near, rule, _difference(first, second))

    def ends(self) -> Iterator[dict[str, Any]]:
        """The options with one of them at an end of its search space, for all ends."""
        for name, domain in self.part.space.items():
            for value in domain.options if isinstance(domain, Choice) else (domain.low, domain.high):
                yield {**self.options, name: value}

    @contextlib.contextmanager
    def examined(self, *, draws: bool = True) -> Iterator[None]:
        """Seeded, with all global state put back; changes that no part may make are refused."""
        with self.unjudged():
            before, python, numpy = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())
            yield
            drawn = random.getstate() != python or repr(np.random.get_state()) != numpy
            self.require(not drawn, "leaves the generators of Python and NumPy alone", "another state")
            untouched = draws or torch.equal(before, torch.get_rng_state())
            self.require(untouched, "draws nothing from torch's global generator", "another state")

    @contextlib.contextmanager
    def unjudged(self, seed: int = 0) -> Iterator[None]:
        """Seeded, with all global state put back; process-wide settings must stay as they are, generators need not."""
        self.settings, python, numpy = _settings(), random.getstate(), np.random.get_state()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)
            try:
                yield
            finally:
                _put_back(self.settings)
                random.setstate(python)
                np.random.set_state(numpy)


def _settings() -> dict[str, Any]:
    """Process-wide settings on which numbers depend."""
    return {
        "number of threads": torch.get_num_threads(),
        "default dtype": torch.get_default_dtype(),
        "choice of deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "recording of gradients": torch.is_grad_enabled(),
    }


def _put_back(settings: Mapping[str, Any]) -> None:
    threads, dtype, deterministic, gradients = settings.values()
    torch.set_num_threads(threads)
    torch.set_default_dtype(dtype)
    torch.use_deterministic_algorithms(deterministic)
    torch.set_grad_enabled(gradients)


def _inner(domain: Domain) -> Any:
    """A value well inside the domain."""
    if isinstance(domain, Choice):
        return domain.options[0]
    middle = math.sqrt(domain.low * domain.high) if domain.log else (domain.low + domain.high) / 2
    return round(middle) if isinstance(domain.low, int) and isinstance(domain.high, int) else middle


def _difference(first: torch.Tensor, second: torch.Tensor) -> str:
    if first.shape != second.shape:
        return f"shapes {tuple(first.shape)} and {tuple(second.shape)}"
    gaps = (first.detach().double() - second.detach().double()).abs()
    return f"a difference of {float(gaps.max() if gaps.numel() else 0.0):.3g}"
