"""Ways to fine-tune that only say what learns, how fast and when."""

from __future__ import annotations

from typing import Any

from harness.hookspecs import Float, NotApplicable, Phase, Strategy, hookimpl
from harness.strategies import Transfer

ULMFIT = 1 / 2.6
"""Rate of a block relative to the one behind it (Howard & Ruder 2018, section 3.2)."""


def scratch(t: Transfer) -> list[Phase]:
    """Everything learns from random weights: the same network and steps, and nothing of the source."""
    return [Phase(lambda p: 1.0)]


def linear_probe(t: Transfer) -> list[Phase]:
    """The head learns, on the features as they are."""
    return [Phase(lambda p: 1.0 if p.head else None)]


def lp_ft(t: Transfer) -> list[Phase]:
    """The head learns for `probe_share` of the steps, then everything at `ft_scale` times the rate.

    Raises:
        ValueError: `probe_share` is not from 0 to 1.
    """
    probe_share, ft_scale = share("lp_ft", t.options.probe_share), t.options.ft_scale
    return probe_then_all(probe_share, ft_scale)


def gradual_unfreeze(t: Transfer) -> list[Phase]:
    """From the head on, block after block begins to learn, in `phases` equal parts, at `decay` per block of depth.

    Fewer `phases` than blocks open several at once; none given (null) are as many as there are blocks.

    Raises:
        ValueError: `phases` is no whole number from 1 to the number of blocks.
    """
    decay, blocks = t.options.decay, t.n_blocks
    phases = whole("gradual_unfreeze", "phases", blocks if t.options.phases is None else t.options.phases, 1, blocks)
    opened = [-(-blocks * number // phases) for number in range(1, phases + 1)]

    def phase(count: int) -> Phase:
        return Phase(lambda p: decay**p.depth if p.depth < count else None, name=f"{count} blocks")

    return [phase(count) for count in opened]


def discriminative(t: Transfer) -> list[Phase]:
    """Everything learns, each block at `decay` times the rate of the one behind it; `total` is that of the first one.

    Raises:
        ValueError: both are given, or neither.
    """
    decay, total, last = t.options.decay, t.options.total, t.n_blocks - 1
    if total is None and decay == "none":
        raise ValueError('discriminative: decay = "none" needs total, the rate of the first block relative to the head')
    if total is None:
        return [Phase(lambda p: decay**p.depth)]
    if decay not in ("none", ULMFIT):
        raise ValueError(f'discriminative: total takes the place of decay ({decay!r}); write decay = "none" beside it')
    return [Phase(lambda p: total ** (p.depth / last) if p.depth else 1.0)]


def bitfit(t: Transfer) -> list[Phase]:
    """Every bias learns, shifts of norm layers included, and the head.

    Raises:
        NotApplicable: nothing but the head has a bias.
    """
    if not any(p.bias and not p.head for p in t.parameters()):
        raise NotApplicable("the model has no bias before its head; equals linear_probe")
    return [Phase(lambda p: 1.0 if p.bias or p.head else None)]


def norm_only(t: Transfer) -> list[Phase]:
    """Scales and shifts of norm layers learn, and the head.

    Raises:
        NotApplicable: no norm layer has parameters.
    """
    if not any(p.norm and not p.head for p in t.parameters()):
        raise NotApplicable("the model has no norm layer with parameters; equals linear_probe")
    return [Phase(lambda p: 1.0 if p.norm or p.head else None)]


def surgical(t: Transfer) -> list[Phase]:
    """One `block` learns, counted from the input side, and the head if it is new.

    Raises:
        ValueError: `block` is no whole number below the number of blocks.
    """
    block = whole("surgical", "block", t.options.block, 0, t.n_blocks - 1)
    return [Phase(lambda p: 1.0 if p.block == block or (p.head and t.new_head) else None)]


def probe_then_all(probe_share: float, scale: float, *, keep: bool = False) -> list[Phase]:
    """The head for a share of the steps, then everything at a multiple of the rate."""
    return [
        Phase(lambda p: 1.0 if p.head else None, probe_share, "probe", keep=keep),
        Phase(lambda p: scale, 1 - probe_share, "all"),
    ]


def share(strategy: str, value: Any, name: str = "probe_share") -> float:
    """The option, if it is a number from 0 to 1.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{strategy}: {name} must be a number from 0 to 1, got {value!r}")
    return float(value)


def whole(strategy: str, name: str, value: Any, low: int, high: int) -> int:
    """The option, if it is a whole number in the range.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{strategy}: {name} must be a whole number from {low} to {high}, got {value!r}")
    return value


# Blocks are 5 at most, so that a decay of 0.1 reaches 1e-4 at the input.
DECAYS = {"decay": Float(0.1, 1.0, log=True)}


@hookimpl
def harness_strategies() -> list[Strategy]:
    """`scratch`, `linear_probe`, `lp_ft`, `gradual_unfreeze`, `discriminative`, `bitfit`, `norm_only`, `surgical`."""
    return [
        Strategy("scratch", phases=scratch, start="random"),
        Strategy("linear_probe", phases=linear_probe, source="Kornblith et al. 2019 (arXiv:1805.08974)"),
        Strategy(
            "lp_ft",
            phases=lp_ft,
            defaults={"probe_share": 0.5, "ft_scale": 0.1},
            space={"ft_scale": Float(0.01, 1.0, log=True)},
            source="Kumar et al. 2022 (arXiv:2202.10054)",
        ),
        Strategy(
            "gradual_unfreeze",
            phases=gradual_unfreeze,
            defaults={"decay": ULMFIT, "phases": None},
            space=DECAYS,
            source="Howard & Ruder 2018 (arXiv:1801.06146), section 3.3",
        ),
        Strategy(
            "discriminative",
            phases=discriminative,
            defaults={"decay": ULMFIT, "total": None},
            space=DECAYS,
            source="Howard & Ruder 2018 (arXiv:1801.06146), section 3.2; Clark et al. 2020; Bao et al. 2021",
        ),
        Strategy("bitfit", phases=bitfit, source="Ben-Zaken et al. 2022 (arXiv:2106.10199)"),
        Strategy("norm_only", phases=norm_only, source="Frankle et al. 2021 (arXiv:2003.00152)"),
        Strategy("surgical", phases=surgical, defaults={"block": 0}, source="Lee et al. 2023 (arXiv:2210.11466)"),
    ]
