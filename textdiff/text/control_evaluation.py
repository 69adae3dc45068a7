"""How well control works, by Diffusion-LM's protocol (arXiv 2205.14217, section 6.2): success beside fluency.

Every target is tried with some samples. Success is the mean over a target's samples, then over targets, with
the paper's tolerance and without; so is the lm-score, each sample's mean nats per token, its end token
included, under a causal judge. The same wishes are held against texts of the same lengths that were drawn
without control: what chance grants is not control. Nothing is chosen among samples.
"""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np
from torch import nn

from textdiff.metrics.diversity import distinct_n, self_bleu
from textdiff.text.control_targets import Makes, Target
from textdiff.text.evaluation import Charges, charged
from textdiff.text.steered import MET
from textdiff.text.wish import Wish

Draw = Callable[[Target, list[Wish], int, int], list[str]]  # target, its wishes, samples, seed -> texts


@dataclass(frozen=True)
class Outcome:
    """One target's texts, and how far each grants each of its wishes."""

    target: Target
    texts: list[str]
    success: dict[str, list[float]]  # by kind of wish; 0 to 1 for every text
    strict: dict[str, list[float]]
    seconds: float
    calls: float | None  # of the denoiser, for each text
    peak_memory_mib: float  # of the process up to here

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "target": self.target.to_dict()}


@dataclass(frozen=True)
class Spread:
    """A figure of every target: their mean, and their standard deviation."""

    mean: float
    std: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of one value a target; the deviation is that of these values, not of a population behind them."""
        return cls(float(np.mean(values)), float(np.std(values)))


@dataclass(frozen=True)
class ControlFigures:
    """One system's figures for one kind of control; shares are 0 to 1, spreads are over targets."""

    kind: str
    targets: int
    samples: int  # of each target
    success: float  # all wishes of a target together: the product of how far each is granted
    success_std: float
    success_strict: float
    success_strict_std: float
    parts: dict[str, dict[str, float]]  # of every wish alone: success, success_strict
    failed_targets: int  # that no sample grants by half
    judge: str
    judge_left_out: int  # texts too long for the judge
    lm_score_nats: float | None  # nats per token: mean of each text, over texts, over targets
    lm_score_perplexity: float | None  # exp(lm_score_nats)
    distinct_2: float  # of each target's texts, mean over targets
    distinct_4: float
    self_bleu: float | None  # 0 to 100; None for one sample a target
    seconds_per_sample: float
    denoiser_calls: float | None  # for each text
    peak_memory_mib: float  # of the process, up to the end of this system's samples

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def try_targets(
    targets: Sequence[Target], make: Makes, draw: Draw, *, samples: int, seed: int = 0,
    denoiser: nn.Module | None = None, tick: Callable[[], Any] | None = None,
) -> list[Outcome]:  # fmt: skip
    """Draw every target's samples and look at all of them; only the drawing is timed.

    Args:
        targets: of one kind.
        make: of their wishes.
        draw: the system.
        samples: of each target.
        seed: target k has a seed of its own that two systems share.
        denoiser: whose calls are counted, if there is one.
        tick: called after each target.
    """
    outcomes = []
    for k, target in enumerate(targets):
        wishes = target.wishes(make)
        own = int(np.random.default_rng([seed, 5, k]).integers(2**31))
        with counted_rows(denoiser) as rows:
            started = perf_counter()
            texts = draw(target, list(wishes.values()), samples, own)
            seconds = perf_counter() - started
        outcomes.append(
            Outcome(
                target, texts,
                {name: [float(v) for v in wish.success(texts)] for name, wish in wishes.items()},
                {name: [float(v) for v in wish.strict(texts)] for name, wish in wishes.items()},
                seconds, None if denoiser is None else sum(rows) / len(texts), peak_memory_mib(),
            )
        )  # fmt: skip
        if tick is not None:
            tick()
    return outcomes


@contextmanager
def counted_rows(module: nn.Module | None) -> Iterator[list[int]]:
    """While this lasts, the list gets the rows of every call of the module."""
    rows: list[int] = []
    if module is None:
        yield rows
        return

    def called(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        rows.append(len(args[0] if args else next(iter(kwargs.values()))))

    hook = module.register_forward_pre_hook(called, with_kwargs=True)
    try:
        yield rows
    finally:
        hook.remove()


def control_figures(
    outcomes: Sequence[Outcome], judge: Charges, *, end: str = "", batch_size: int = 32
) -> ControlFigures:
    """The figures of one system.

    Args:
        outcomes: of one kind of control, as many texts each.
        judge: charges the texts.
        end: the judge's mark of a text's end, which is charged as a token; "" = ends are not charged.
        batch_size: texts the judge reads at once.

    Raises:
        ValueError: if there is no outcome, or the judge can read none of the texts.
    """
    if not outcomes:
        raise ValueError("There is no target to measure: give at least one.")
    loose = Spread.of([float(np.mean(joint(o.success))) for o in outcomes])
    strict = Spread.of([float(np.mean(joint(o.strict))) for o in outcomes])
    nats, left_out = lm_score(outcomes, judge, end=end, batch_size=batch_size)
    samples = len(outcomes[0].texts)
    calls = [o.calls for o in outcomes if o.calls is not None]
    return ControlFigures(
        kind=outcomes[0].target.kind, targets=len(outcomes), samples=samples,
        success=loose.mean, success_std=loose.std,
        success_strict=strict.mean, success_strict_std=strict.std,
        parts={
            name: {
                "success": float(np.mean([np.mean(o.success[name]) for o in outcomes])),
                "success_strict": float(np.mean([np.mean(o.strict[name]) for o in outcomes])),
            }
            for name in outcomes[0].success
        },
        failed_targets=len(failures(outcomes)),
        judge=judge.name, judge_left_out=left_out, lm_score_nats=nats,
        lm_score_perplexity=None if nats is None else math.exp(nats),
        distinct_2=float(np.mean([distinct_n(o.texts, 2) for o in outcomes])),
        distinct_4=float(np.mean([distinct_n(o.texts, 4) for o in outcomes])),
        self_bleu=float(np.mean([self_bleu(o.texts) for o in outcomes])) if samples > 1 else None,
        seconds_per_sample=sum(o.seconds for o in outcomes) / sum(len(o.texts) for o in outcomes),
        denoiser_calls=float(np.mean(calls)) if calls else None,
        peak_memory_mib=outcomes[-1].peak_memory_mib,
    )  # fmt: skip


def joint(shares: Mapping[str, Sequence[float]]) -> list[float]:
    """How far each text grants all wishes at once: the product of the shares."""
    return [math.prod(own) for own in zip(*shares.values(), strict=True)]


def failures(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Targets that no sample grants by half (`steered.MET`), each with its best attempt."""
    found = []
    for o in outcomes:
        if max(joint(o.success)) >= MET:
            continue
        best = max(range(len(o.texts)), key=lambda i: sum(own[i] for own in o.success.values()))
        granted = {name: own[best] for name, own in o.success.items()}
        found.append({"target": o.target.to_dict(), "best": o.texts[best], "success": granted})
    return found


def lm_score(
    outcomes: Sequence[Outcome], judge: Charges, *, end: str = "", batch_size: int = 32
) -> tuple[float | None, int]:
    """Nats per token: each text's mean over its tokens, the mean of a target's texts, the mean over targets.

    Args:
        outcomes: of one system.
        judge: charges each text on its own.
        end: as in `control_figures`.
        batch_size: texts the judge reads at once.

    Returns:
        The score, None if no text has a token; and how many texts were too long for the judge.
    """
    different = list(dict.fromkeys(text + end for o in outcomes for text in o.texts))
    read, charges = charged(different, judge, batch_size)
    nats = {text: own / tokens for text, (own, tokens) in zip(read, charges, strict=True) if tokens}
    means = []
    for o in outcomes:
        own = [nats[text + end] for text in o.texts if text + end in nats]
        if own:
            means.append(float(np.mean(own)))
    kept = set(read)
    left_out = sum(text + end not in kept for o in outcomes for text in o.texts)
    return (float(np.mean(means)) if means else None), left_out


def peak_memory_mib() -> float:
    """The most memory that this process has had so far, resident, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
