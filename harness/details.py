"""What a final run keeps of the test set besides its scores: plain data from which a report draws pictures.

Of a classification: which class was taken for which, ROC curves, the surest mistakes and where the network looked; of a
regression: some pairs of target and output, and quantiles of what lies between them. All of it follows from the outputs
and a fixed rule, so that equal runs keep equal bits; nothing of it changes the model or draws from a generator.

Tensor axes: N examples, M mistakes, K classes, P points of a curve, C channels, H and W pixels.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from harness.train.feed import Examples

MOST_CLASSES = 100
"""Up to so many classes there are a table of which was taken for which, areas and a mean curve."""
MOST_CURVES = 20
"""Up to so many there is a curve for each."""
POINTS = 100
"""Of a curve, at most."""
MISTAKES = 12
PICTURE_CHARACTERS = 45_000
"""Room for pictures in a record: so many mistakes as fit have one."""
LARGEST_SIDE = 32
"""Pixels; larger pictures are shrunk."""
PAIRS = 500
QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
RATES = tuple((at / 100) ** 2 for at in range(101))
"""False positive rates at which the mean curve is kept: densest near 0, where the curves of good classifiers bend."""

Forward = Callable[[torch.Tensor], torch.Tensor]
"""From inputs (B, ...) to outputs (B, K) in evaluation mode."""


def of(
    outputs: torch.Tensor, targets: torch.Tensor, *, classes: int | None, examples: Examples, forward: Forward
) -> dict[str, Any] | None:
    """The details of a split that was just evaluated; None where its outputs are not of the usual form.

    Args:
        outputs: (N, K), as `forward` gave them.
        targets: (N,), or of a regression (N, ...).
        classes: None for a regression.
        examples: the split, of which a few inputs are read once more.
        forward: may record gradients; outside of inference mode.
    """
    outputs, targets = outputs.detach().cpu(), targets.detach().cpu()
    if not bool(torch.isfinite(outputs).all()):
        return None
    if classes is None:
        return _regression(outputs, targets) if outputs.numel() == targets.numel() else None
    if outputs.dim() != 2 or outputs.shape[1] != classes or targets.shape != outputs.shape[:1]:
        return None
    taken = outputs.argmax(dim=1)
    return {
        "task": "classification",
        "examples": len(targets),
        **_counts(taken, targets, classes),
        **(_ranking(log_odds(outputs), targets) if 1 < classes <= MOST_CLASSES else {}),
        **_mistakes(outputs, taken, targets, examples, forward),
    }


# Classes -------------------------------------------------------------------------------------------------------------


def _counts(taken: torch.Tensor, targets: torch.Tensor, classes: int) -> dict[str, Any]:
    """Examples of each class, taken for it, and both; and where there are few classes of each pair."""
    counted = {
        "support": torch.bincount(targets, minlength=classes),
        "predicted": torch.bincount(taken, minlength=classes),
        "right": torch.bincount(targets[taken == targets], minlength=classes),
    }
    if classes <= MOST_CLASSES:
        pairs = torch.bincount(targets * classes + taken, minlength=classes**2)
        counted["confusion"] = pairs.reshape(classes, classes)
    return {name: counts.tolist() for name, counts in counted.items()}


def log_odds(outputs: torch.Tensor) -> torch.Tensor:
    """The logarithm of p / (1 - p) for the probability p of each class, (N, K), from outputs taken as logits.

    It orders examples as p does, also where p itself would be rounded to 1, from 37 nats on. To ten decimals: what lies
    below differs with the order of a sum, and would untie what is tied.
    """
    logits = outputs.double()
    largest = logits.argmax(dim=1, keepdim=True)
    total = logits.logsumexp(dim=1, keepdim=True)
    odds = logits - total - torch.log1p(-(logits - total).exp())
    return odds.scatter(1, largest, _margins(logits, largest)).round(decimals=10)


def _margins(logits: torch.Tensor, largest: torch.Tensor) -> torch.Tensor:
    """Log-odds of the largest class alone, (N, 1): of it 1 - p is too small to be had from p."""
    others = logits.scatter(1, largest, -torch.inf).logsumexp(dim=1, keepdim=True)
    return logits.gather(1, largest) - others


def _ranking(odds: torch.Tensor, targets: torch.Tensor) -> dict[str, Any]:
    """Area under the curve of each class against all others, the curves, and their mean."""
    classes = odds.shape[1]
    curves = [curve(odds[:, at], targets == at) for at in range(classes)]
    made: dict[str, Any] = {"auc": [area(*found) for found in curves]}
    if all(found is not None for found in made["auc"]):
        means = torch.stack([_at_rates(*found) for found in curves]).mean(dim=0)
        made["roc"] = {"macro": [_short(value) for value in means.tolist()]}
        if classes <= MOST_CURVES:
            made["roc"]["classes"] = [[_line(points) for points in thinned(*found)] for found in curves]
    return made


def curve(scores: torch.Tensor, positive: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """False and true positives (P,) as the threshold falls over all scores (N,), from none to all (Fawcett 2006)."""
    order = torch.argsort(scores, descending=True, stable=True)
    ordered, hits = scores[order], positive[order].long().cumsum(dim=0)
    last = torch.ones(len(scores), dtype=torch.bool)
    last[:-1] = ordered[1:] != ordered[:-1]  # equal scores pass the threshold together
    true = hits[last]
    false = last.nonzero().flatten() + 1 - true
    return functional.pad(false, (1, 0)), functional.pad(true, (1, 0))


def area(false: torch.Tensor, true: torch.Tensor) -> float | None:
    """Area under a curve from whole numbers, so exact; None where there are no positives, or nothing else."""
    pairs = int(false[-1]) * int(true[-1])
    twice = int(((false[1:] - false[:-1]) * (true[1:] + true[:-1])).sum())
    return twice / (2 * pairs) if pairs else None


def _at_rates(false: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """True positive rates of a curve at `RATES`, linear between its points; the highest where it rises."""
    x, y = false.double() / false[-1], true.double() / true[-1]
    rates = torch.tensor(RATES, dtype=torch.float64)
    below = torch.searchsorted(x, rates, right=True) - 1
    above = (below + 1).clamp(max=len(x) - 1)
    width = (x[above] - x[below]).clamp(min=torch.finfo(torch.float64).tiny)
    return y[below] + (y[above] - y[below]) * ((rates - x[below]) / width).clamp(max=1)


def thinned(false: torch.Tensor, true: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """At most `POINTS` points of a curve, the same ones always: dense near the corner of a perfect classifier."""
    if len(false) <= POINTS:
        return false, true
    across = torch.searchsorted(false.double(), _steps(POINTS // 2) * false[-1], right=True) - 1
    upward = torch.searchsorted(true.double(), (1 - _steps(POINTS - POINTS // 2 - 1)) * true[-1])
    kept = torch.unique(torch.cat([torch.tensor([0]), across, upward]))
    return false[kept], true[kept]


def _steps(number: int) -> torch.Tensor:
    """So many numbers from 0 to 1, densest near 0."""
    return (torch.arange(number, dtype=torch.float64) / (number - 1)).square()


def _line(counts: torch.Tensor) -> str:
    """Counts with blanks between; in a record each item of a list has a line of its own, which takes twice the room."""
    return " ".join(map(str, counts.tolist()))


def _short(value: float, digits: int = 6) -> float:
    """The number with so many significant digits, which JSON writes in few characters."""
    return float(f"{value:.{digits}g}")


# Mistakes ------------------------------------------------------------------------------------------------------------


def _mistakes(
    outputs: torch.Tensor, taken: torch.Tensor, targets: torch.Tensor, examples: Examples, forward: Forward
) -> dict[str, Any]:
    """The mistakes that the network was surest of, the surest first, with pictures where inputs are images."""
    wrong = (taken != targets).nonzero().flatten()
    sure = _margins(outputs[wrong].double(), taken[wrong, None]).flatten()
    chosen = wrong[torch.argsort(sure, descending=True, stable=True)[:MISTAKES]]
    rows = [
        {
            "index": int(at),
            "true": int(targets[at]),
            "predicted": int(taken[at]),
            "probability": _short(float(outputs[at].double().softmax(dim=0)[taken[at]])),
        }
        for at in chosen
    ]
    return {"mistakes": rows, **(_pictures(chosen, taken[chosen], examples, forward) if rows else {})}


def _pictures(
    chosen: torch.Tensor, taken: torch.Tensor, examples: Examples, forward: Forward
) -> dict[str, dict[str, Any]]:
    """The inputs of those examples as small pictures and maps of what their class depends on; {} if they are no images.

    Brightness is scaled to the darkest and brightest of these pictures together, each map to its own largest value.
    """
    (inputs, *_), *_ = examples.batches([chosen.to(examples.order_device)], seed=0)
    if inputs.dim() != 4 or inputs.shape[1] not in (1, 3):
        return {}
    images = _shrunk(inputs.detach().cpu().float(), functional.adaptive_avg_pool2d)
    if not bool(torch.isfinite(images).all()):
        return {}
    channels, height, width = images.shape[1:]
    room = PICTURE_CHARACTERS // (4 * -(-height * width // 3) + 4 * -(-channels * height * width // 3))
    made: dict[str, Any] = {"height": height, "width": width, "channels": channels}
    shown = images[:room]
    made["images"] = [_packed(image.movedim(0, -1)) for image in _bytes(shown, low=shown.amin())]
    maps = saliency(inputs[:room], taken[:room].to(inputs.device), forward)
    if maps is not None:
        small = _shrunk(maps.cpu().float(), functional.adaptive_max_pool2d)
        made["saliency"] = [_packed(_bytes(one, low=torch.tensor(0.0))) for one in small]
    return {"pictures": made}


def saliency(inputs: torch.Tensor, taken: torch.Tensor, forward: Forward) -> torch.Tensor | None:
    """How much the output of the class (M,) depends on each pixel: maps (M, H, W) of inputs (M, C, H, W).

    The absolute gradient, the largest over the channels (Simonyan et al. 2014, arXiv:1312.6034, section 3.1). None for
    a model through which no gradient comes. Parameters, their gradients and the modes of modules stay as they are.
    """
    if not inputs.is_floating_point():
        return None
    leaf = inputs.detach().clone().requires_grad_()
    try:
        with torch.enable_grad():
            scores = forward(leaf).gather(1, taken[:, None]).sum()
            (gradient,) = torch.autograd.grad(scores, leaf)
    except RuntimeError:
        return None
    maps = gradient.detach().abs().amax(dim=1)
    return maps if bool(torch.isfinite(maps).all()) else None


def _shrunk(maps: torch.Tensor, pool: Callable[..., torch.Tensor]) -> torch.Tensor:
    """The pictures (M, ..., H, W) with no side longer than `LARGEST_SIDE`."""
    height, width = maps.shape[-2:]
    share = LARGEST_SIDE / max(height, width)
    return maps if share >= 1 else pool(maps, (max(1, round(share * height)), max(1, round(share * width))))


def _bytes(values: torch.Tensor, *, low: torch.Tensor) -> torch.Tensor:
    """The values from `low` to the largest as 0 to 255; all 0 where that is `low`."""
    span = (values.amax() - low).clamp(min=torch.finfo(torch.float32).tiny)
    return ((values - low) / span * 255).round().to(torch.uint8)


def _packed(values: torch.Tensor) -> str:
    """Bytes row by row, channels last, in base64."""
    return base64.b64encode(values.contiguous().numpy().tobytes()).decode()


# Values --------------------------------------------------------------------------------------------------------------


def _regression(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, Any]:
    """Pairs that lie evenly over the split, and quantiles of output minus target over all of it."""
    found, due = outputs.flatten().double(), targets.flatten().double()
    taken = min(PAIRS, len(due))
    at = torch.arange(taken) * len(due) // taken
    residuals = (found - due).sort().values
    return {
        "task": "regression",
        "examples": len(targets),
        "pairs": {
            "target": [_short(value) for value in due[at].tolist()],
            "output": [_short(value) for value in found[at].tolist()],
        },
        "residuals": [[share, _short(_quantile(residuals, share))] for share in QUANTILES],
    }


def _quantile(ordered: torch.Tensor, share: float) -> float:
    """Linear between the order statistics (Hyndman and Fan 1996, definition 7)."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return float(ordered[low] + (place - low) * (ordered[high] - ordered[low]))
