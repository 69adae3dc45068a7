"""Training presets: a table whose rows say what they make, how long it takes and what to expect.

Sources are files below `--data-dir`, each with the share of its texts that is used. Times are for 2 CPU cores in
bfloat16 unless the row says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

GENERAL_ENGLISH = {
    "tatoeba/eng_sentences.train.txt.gz": 1.0,
    "common_voice_en/train.txt.gz": 1.0,
    "tinystories/train.txt.gz": 1.0,
    "tinystories/official_valid_head.txt.gz": 1.0,
    "open_storybooks/train.txt.gz": 1.0,
    "gutenberg_children/train.txt.gz": 0.2,
}


@dataclass(frozen=True)
class Preset:
    """One row: what it is for, the data, the shape of the model and of the run."""

    name: str
    about: str
    sources: dict[str, float] = field(default_factory=dict)
    text_after: str = ""               # mark behind which a line's text begins; "" = the whole line is text
    tokenizer: str = "bpe"             # "bpe" or "word"
    vocab_size: int = 4096
    tests: dict[str, str] = field(default_factory=dict)  # name -> file of held-out text, below --data-dir
    recipe: str = "bound"              # "bound" or "diffusion_lm"
    pairs: tuple[int, int] | None = None  # of .tsv sources, the columns (from 1) of source and target; None = texts
    turned: str = ""                   # first cell of the lines that have source and target the other way round
    both_ways: bool = False            # pairs also train reversed
    conditional: bool = True           # also learn to fill blanks; False = every token is noised, for likelihood alone
    model: dict[str, Any] = field(default_factory=dict)
    row_length: int = 128              # tokens a packed row
    batch_size: int = 32               # rows a step, over all processes
    max_steps: int = 2600
    learning_rate: float = 1.5e-3

    def rates(self) -> dict[str, Any]:
        """How long, in which batches and how fast to train: arguments of `training_arguments`."""
        return {"max_steps": self.max_steps, "batch_size": self.batch_size, "learning_rate": self.learning_rate}


E2E: dict[str, Any] = {
    "sources": {"e2e/diffusion_lm/src1_train.txt.gz": 1.0}, "text_after": "||",
    "tokenizer": "word", "vocab_size": 1000,
}  # fmt: skip
E2E_TESTS = {"E2E": "e2e/diffusion_lm/src1_valid.txt.gz"}
ENGLISH_TESTS = {
    "Tatoeba": "tatoeba/deu-eng.test.tsv.gz",
    "TinyStories": "tinystories/test.txt.gz",
    "Gutenberg children": "gutenberg_children/test.txt.gz",
}

GERMAN_ENGLISH = "tatoeba/deu-eng.train.tsv.gz"  # English in the first column

PRESETS = {preset.name: preset for preset in (
    Preset(
        name="english",
        about="the bundled model: general simple English, 7 M parameters; about 80 min on 1 core",
        sources=GENERAL_ENGLISH, tests=ENGLISH_TESTS, model={"stagger": 1.0, "reading_layers": 3},
        batch_size=16, max_steps=5200,
    ),
    Preset(
        name="english-gpu",
        about="the same data at 18 M parameters for one GPU: 25 min on a datacentre card (not yet run)",
        sources=GENERAL_ENGLISH, tests=ENGLISH_TESTS,
        model={
            "hidden_size": 384, "num_hidden_layers": 8, "num_attention_heads": 6, "intermediate_size": 1536,
            "stagger": 1.0, "reading_layers": 4,
        },
        batch_size=512, max_steps=12000,
    ),
    Preset(
        name="e2e",
        about="restaurant descriptions, word level, 4 M parameters; about 25 min on 2 cores",
        **E2E, tests=E2E_TESTS, model={"num_hidden_layers": 4, "stagger": 1.0}, batch_size=16, max_steps=4000,
    ),
    Preset(
        name="e2e-cpu",
        about="the same on a short budget, for benchmarks/likelihood.py: 2 M parameters, about 4 min on 1 core",
        **E2E, tests=E2E_TESTS, conditional=False,
        model={
            "hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 768,
            "stagger": 1.0, "reading_layers": 2,
        },
        batch_size=8, max_steps=1000, learning_rate=2e-3,
    ),
    Preset(
        name="de-en",
        about="German to English sentences (Tatoeba), 7 M parameters; about 50 min on 1 core",
        sources={GERMAN_ENGLISH: 1.0}, pairs=(2, 1),
        model={"stagger": 1.0, "max_position_embeddings": 96},
        batch_size=16, max_steps=4000,
    ),
    Preset(
        name="paraphrase",
        about="another way to say it (Tatoeba), 7 M parameters; about 14 min on 1 core",
        sources={"tatoeba/paraphrase.train.tsv.gz": 1.0}, pairs=(1, 2), both_ways=True,
        model={"stagger": 1.0}, batch_size=16, max_steps=1200,
    ),
    Preset(
        name="simplify",
        about="news sentences in simpler words (OneStop), 7 M parameters; about 13 min on 1 core",
        sources={"simplification/onestop_pairs.tsv.gz": 1.0}, pairs=(2, 3), turned="ELE-INT",
        model={"stagger": 1.0, "copies": 4.0, "max_position_embeddings": 128},
        batch_size=16, max_steps=1200,
    ),
    Preset(
        name="tiny",
        about="a model that fits any text file in about two minutes: to see the machinery run, not to read its samples",
        vocab_size=512,
        model={"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 256},
        batch_size=16, row_length=64, max_steps=300, learning_rate=3e-3,
    ),
)}  # fmt: skip
