#!/usr/bin/env python3
"""Write texts by wishes, with a diffusion language model that is steered towards them.

    python scripts/control.py --keywords river,boat --without dark --length 16
    python scripts/control.py --model e2e --text "The Vaults" --semantic food=Japanese --length 12
    python scripts/control.py --model e2e --pos "DET NOUN VERB" --tagger spacy:en_core_web_sm
    python scripts/control.py --model e2e --tree "(S (NP (DET a) (NOUN pub)) (VP (VERB sells)))" --json

Several wishes at once are granted together. Every text is shown with the success of each, from 0 to 1, and
its fluency in nats per token (lower is better). What a wish asks of a text: docs/control.md.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from typing import TYPE_CHECKING

from textdiff.cli import run
from textdiff.text.sampling_options import add_sampling_options, sampling_of

if TYPE_CHECKING:
    from textdiff.metrics.judge import Judge
    from textdiff.text.sampling import Options
    from textdiff.text.steered import Candidate
    from textdiff.text.wishes import Wish, Wishes

OWN_BOUND = "the model's own bound"


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, several = parser.add_argument, {"action": "append", "default": []}
    add("--model", help="model folder, hub id or name of a bundled model (default: the bundled English one)")
    add("--text", default="", help="beginning to go on from; it comes back unchanged")
    add("--semantic", metavar="FIELD=VALUE", help="what the text is about, such as food=Japanese", **several)
    add("--length", type=int, help="tokens of the whole text")
    add("--pos", metavar="TAGS", help='tags of its words, such as "DET NOUN VERB"')
    add("--tree", metavar="TREE", help='its tree, "(S (NP (DET a) (NOUN dog)) (VP (VERB ran)))"')
    add("--span", metavar="I,J,LABEL", help="words I to J - 1, counted from 0, are a LABEL", **several)
    add("--keywords", metavar="WORD,...", help="words or phrases; river@3: as token 3, from 0", **several)
    add("--without", metavar="WORD,...", help="words or phrases that must not stand there", **several)
    add("--sentiment", metavar="VALUE", help="positive or negative")
    add("--label", metavar="FIELD=VALUE", help="a label of a classifier of yours", **several)
    add("--classifier", nargs="+", metavar="FOLDER", help="default: those in the model's folder")
    add("--tagger", metavar="NAME", help="who checks --pos: a folder, spacy:MODEL or stanza:LANGUAGE")
    add("--parser", metavar="NAME", help="who checks --tree and --span: a folder, stanza:..., benepar:MODEL")
    add("--judge", metavar="FOLDER", help=f"causal model that charges for texts (default: {OWN_BOUND})")
    add("--num-samples", type=int, default=16, help="texts to draw (default: 16), shown once each")
    add("--guidance-scale", type=float, default=3.0, help="how strongly to steer (default: 3; 0 = off)")
    add_sampling_options(parser)
    add("--json", action="store_true", help="print one JSON object")
    return parser.parse_args(argv)


def pair(option: str, given: str) -> tuple[str, str]:
    """Field and value of "field=value"."""
    field, equals, value = (part.strip() for part in given.partition("="))
    if not (field and equals and value):
        raise ValueError(f"{option} is {given!r}: give FIELD=VALUE, such as food=Japanese.")
    return field, value


def listed(option: str, given: str) -> list[str]:
    """The words of "river,boat"."""
    words = [word.strip() for word in given.split(",")]
    if not all(words):
        raise ValueError(f"{option} is {given!r}: give words with a comma between them, none of them empty.")
    return words


def span(given: str) -> tuple[int, int, str]:
    """Start, end and label of "0,3,NP"."""
    found = re.fullmatch(r"\s*(\d{1,6})\s*,\s*(\d{1,6})\s*,\s*([^\s,]+)\s*", given)
    if found is None:
        raise ValueError(
            f"--span is {given!r}: give first word, word behind the last, and label, such as 0,3,NP."
        )
    return int(found[1]), int(found[2]), found[3]


def keyword_wishes(wishes: Wishes, words: list[str]) -> list[Wish]:
    """Words anywhere are one wish, each word with a place is one of its own."""
    places = {word: re.fullmatch(r"(.+)@(\d{1,6})", word) for word in words}
    for word in words:
        if word.endswith("@"):
            raise ValueError(f"--keywords has {word!r}: write the place behind the @, such as river@3.")
    anywhere = [word for word, place in places.items() if place is None]
    placed = [wishes.keywords([place[1]], place=int(place[2])) for place in places.values() if place]
    return ([wishes.keywords(anywhere)] if anywhere else []) + placed


def wished(args: argparse.Namespace, wishes: Wishes) -> list[Wish]:
    """All wishes of the command line."""
    found = [wishes.semantic(*pair("--semantic", given)) for given in args.semantic]
    found += [] if args.length is None else [wishes.length(args.length)]
    found += [] if args.pos is None else [wishes.pos(args.pos.split())]
    found += [] if args.tree is None else [wishes.tree(args.tree)]
    found += [wishes.span(*span(given)) for given in args.span]
    for given in args.keywords:
        found += keyword_wishes(wishes, listed("--keywords", given))
    found += [wishes.without(listed("--without", given)) for given in args.without]
    found += [] if args.sentiment is None else [wishes.sentiment(args.sentiment)]
    found += [wishes.label(*pair("--label", given)) for given in args.label]
    if not found:
        raise ValueError(
            "There is no wish: give --semantic, --length, --pos, --tree, --span, --keywords, --without, "
            "--sentiment or --label."
        )
    return found


def report(candidates: list[Candidate], judges: dict[str, str]) -> str:
    """Candidates for reading, best first: a column for each wish, numbered."""
    names = [name for name in judges if name != "fluency"]
    lines = [f"{number}  {name}, judged by {judges[name]}" for number, name in enumerate(names, start=1)]
    lines.append(f"fluency: nats per token of {judges['fluency']}, lower is better")
    lines += ["", "".join(f"{number:6d}" for number in range(1, len(names) + 1)) + "  fluency  text"]
    for one in candidates:
        charge = "-" if one.fluency is None else f"{one.fluency:.2f}"
        row = "".join(f"{one.controls[name]:6.2f}" for name in names) + f"  {charge:>7}  {one.text}"
        lines.append(row.replace("\r", "").replace("\n", "⏎"))
    return "\n".join(lines)


def as_json(candidates: list[Candidate], judges: dict[str, str], failures: list[str]) -> str:
    """The same for a program."""
    rows = [
        {
            "text": one.text,
            "controls": {name: round(value, 4) for name, value in one.controls.items()},
            "fluency": None if one.fluency is None else round(one.fluency, 4),
        }
        for one in candidates
    ]
    return json.dumps({"candidates": rows, "failed": failures, "judged_by": judges}, ensure_ascii=False)


def load_judge(folder: str | None) -> Judge | None:
    """The judge of fluency, if one was named."""
    if folder is None:
        return None
    from textdiff.metrics.judge import Judge

    return Judge.from_pretrained(folder)


def main(argv: list[str] | None = None) -> None:
    """Draw the texts wished for and print them."""
    args = parse_args(argv)
    from textdiff.text.language_model import DiffusionLM
    from textdiff.text.steered import failed, steer
    from textdiff.text.wishes import Wishes

    model = DiffusionLM.from_pretrained(args.model)
    wishes = wished(args, Wishes.for_model(model, args.classifier, args.tagger, args.parser))
    options: Options = {**sampling_of(args), "guidance_scale": args.guidance_scale}
    found = steer(
        model, wishes, prompt=args.text, num_samples=args.num_samples, judge=load_judge(args.judge), **options
    )
    judges = {**{wish.name: wish.judged_by for wish in wishes}, "fluency": args.judge or OWN_BOUND}
    failures = failed(found)
    said = as_json(found, judges, list(failures)) if args.json else report(found, judges)
    sys.stdout.write(said + "\n")
    for name, best in failures.items():
        attempt = f"best attempt ({best.controls[name]:.2f}): {' '.join(best.text.split())}"
        sys.stderr.write(f"failed on every sample: {name}; {attempt}\n")


if __name__ == "__main__":
    run(main)
