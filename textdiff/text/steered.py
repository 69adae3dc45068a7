"""Texts by wishes: drawn, checked, and shown with what they cost, the failures too.

    found = steer(lm, [wishes.semantic("food", "Japanese"), wishes.length(12)], prompt="The Vaults", seed=0)
    found[0].text, found[0].controls, found[0].fluency
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

from textdiff.diffusion.limits import check_count
from textdiff.text.blanks import checked
from textdiff.text.evaluation import Charges, charged
from textdiff.text.language_model import DiffusionLM
from textdiff.text.ordered_denoiser import usual_order
from textdiff.text.sampling import Options, Sampling
from textdiff.text.wish import Wish, agree, energy_of
from textdiff.text.wished_lengths import wished_lengths

GUIDANCE_SCALE = 3.0
JUDGED_AT_ONCE = 32
LEVELS = 16  # noise levels of each text's own bound
MET = 0.5  # least success of a wish that is not failed


@dataclass(frozen=True)
class Candidate:
    """A text, how far each wish is met, and how well it reads."""

    text: str
    controls: dict[str, float]  # name of a wish -> success, 0 to 1
    fluency: float | None  # nats per token, lower is better; None where it cannot be charged


def steer(
    lm: DiffusionLM,
    wishes: Wish | Sequence[Wish],
    *,
    prompt: str = "",
    num_samples: int = 16,
    length: int | tuple[int, int] | None = None,
    judge: Charges | None = None,
    **options: Unpack[Options],
) -> list[Candidate]:
    """Different texts by wishes, those that meet most of them first, of equal ones the most fluent.

    Args:
        lm: the model.
        wishes: of `Wishes.for_model(lm)`, at least one.
        prompt: a given beginning, which comes back to the byte; its tokens count in all lengths.
        num_samples: texts to draw; equal ones are shown once.
        length: tokens of the text, or the least and the most; by default what the wishes ask for. Between the two,
            without a prompt, as wished spans make likely (`wished_lengths`), at guidance_scale 0 too.
        judge: charges nats for texts; None: the model's own bound does.
        **options: how to sample, see `Options`; guidance_scale is 3 if left out, control is one wish more.

    Raises:
        ValueError: if there is no wish, wishes contradict each other, the prompt, or the window.
    """
    wanted = [wishes] if isinstance(wishes, Wish) else list(wishes)
    if not wanted:
        raise ValueError("There is no wish: give at least one, or generate without control.")
    texts = drawn(lm, wanted, prompt=prompt, num_samples=num_samples, length=length, **options)
    return judged(lm, wanted, texts, judge=judge, seed=options.get("seed") or 0)


def drawn(
    lm: DiffusionLM,
    wishes: Sequence[Wish],
    *,
    prompt: str = "",
    num_samples: int = 16,
    length: int | tuple[int, int] | None = None,
    **options: Unpack[Options],
) -> list[str]:
    """Texts by wishes, unchecked: in the order they were drawn, with a prompt equal ones once; as `steer`."""
    bounds = agree(wishes, lm.window, length)
    given: Options = {"guidance_scale": GUIDANCE_SCALE, **options}
    given["control"] = energy_of(wishes, options.get("control"))
    if given.get("order") is None and not any(wish.kind == "keywords" for wish in wishes):
        given["order"] = usual_order(lm.denoiser, drawing=True)  # no wish has to find its place
    if not prompt:
        check_count(num_samples)
        sampling = Sampling(**given)
        sampling.sampler_for(lm.denoiser)  # refuses a control where there can be none
        given["seed"] = seed = sampling.pick_seed()
        lengths = wished_lengths(lm, wishes, bounds, num_samples, seed=seed, temperature=sampling.temperature)
        return lm.generate(num_samples, length=lengths, **given)
    room = None if bounds is None else _room(lm, prompt, *bounds)
    return [one.text for one in lm.complete(prompt, length=room, num_samples=num_samples, **given)]


def _room(lm: DiffusionLM, prompt: str, least: int, most: int) -> tuple[int, int]:
    """The least and the most tokens to add to a prompt."""
    vocabulary = lm.vocabulary
    start = len(vocabulary.encode(checked(prompt if vocabulary.words else prompt.removesuffix(" "))))
    if start >= most:
        raise ValueError(
            f"The prompt has {start} tokens, and the whole text may have {most}: give a shorter prompt, or "
            "wish for a longer text."
        )
    low = max(1, least - start)
    return low, min(most - start, max(low, lm.window // 2))


def judged(
    lm: DiffusionLM,
    wishes: Sequence[Wish],
    texts: Sequence[str],
    *,
    judge: Charges | None = None,
    seed: int = 0,
) -> list[Candidate]:
    """Different texts with how far each wish is met, best first; arguments as in `steer`."""
    texts = list(dict.fromkeys(texts))
    met = {wish.name: wish.success(texts) for wish in wishes}
    nats = fluency(lm, texts, judge=judge, seed=seed)
    found = [
        Candidate(text, {name: values[k] for name, values in met.items()}, nats[k])
        for k, text in enumerate(texts)
    ]

    def order(one: Candidate) -> tuple[float, float]:
        return -sum(one.controls.values()), float("inf") if one.fluency is None else one.fluency

    return sorted(found, key=order)


def fluency(
    lm: DiffusionLM, texts: Sequence[str], *, judge: Charges | None = None, seed: int = 0
) -> list[float | None]:
    """Nats per token of every text, under a judge or by the model's own bound.

    None for a text without tokens, and for one that is too long for the judge; a judge that can read none refuses.
    """
    if judge is not None:
        read, charges = charged(texts, judge, JUDGED_AT_ONCE)
        means = {text: nats / tokens for text, (nats, tokens) in zip(read, charges, strict=True) if tokens}
        return [means.get(text) for text in texts]
    sizes = [len(lm.vocabulary.encode(text)) for text in texts]
    some = [text for text, size in zip(texts, sizes, strict=True) if size]
    if not some or not lm.denoiser.config.categorical:
        return [None] * len(texts)
    nats = iter(lm.score(some, levels=LEVELS, seed=seed).nats)
    return [next(nats) / size if size else None for size in sizes]


def failed(candidates: Sequence[Candidate]) -> dict[str, Candidate]:
    """Wishes that no candidate meets (success below `MET`), each with the best attempt."""
    found = {}
    for name in candidates[0].controls if candidates else ():
        best = max(candidates, key=lambda one: one.controls[name])
        if best.controls[name] < MET:
            found[name] = best
    return found
