"""Penn Treebank tags in universal ones (universaldependencies.org/u/pos): what a tag and a word allow.

Universal tags draw some lines elsewhere: "to" is a particle or a preposition, "have" an auxiliary or a verb,
"that" a determiner, a pronoun or a conjunction. So an entry names every universal tag that may be meant, and
whoever learns from it learns "one of these"; text with universal tags of its own says which.
"""

from __future__ import annotations

from collections.abc import Sequence

UNIVERSAL_TAGS = tuple(
    "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split()
)

ANY = " ".join(UNIVERSAL_TAGS)

# Penn tag -> universal tags that it may stand for.
BY_TAG = {
    "CC": "CCONJ", "CD": "NUM", "DT": "DET", "EX": "PRON", "FW": "X NOUN ADV INTJ", "IN": "ADP SCONJ",
    "JJ": "ADJ", "JJR": "ADJ", "JJS": "ADJ", "LS": "NUM X", "MD": "AUX", "NN": "NOUN", "NNS": "NOUN",
    "NNP": "PROPN", "NNPS": "PROPN", "PDT": "DET", "POS": "PART", "PRP": "PRON", "PRP$": "PRON",
    "RB": "ADV", "RBR": "ADV", "RBS": "ADV", "RP": "ADP", "SYM": "SYM X", "TO": "ADP PART", "UH": "INTJ",
    "VB": "VERB", "VBD": "VERB", "VBG": "VERB", "VBN": "VERB", "VBP": "VERB", "VBZ": "VERB",
    "WDT": "DET PRON", "WP": "PRON", "WP$": "PRON", "WRB": "ADV", "ADD": "PROPN X",
    "AFX": "ADJ ADV NOUN VERB X", "GW": ANY, "HYPH": "PUNCT SYM", "NFP": "PUNCT SYM", "$": "SYM",
    "#": "SYM", ".": "PUNCT", ",": "PUNCT SYM", ":": "PUNCT", "(": "PUNCT", ")": "PUNCT",
    "-LRB-": "PUNCT", "-RRB-": "PUNCT", "``": "PUNCT", "''": "PUNCT", '"': "PUNCT", "'": "PUNCT",
    "-": "PUNCT SYM", "...": "PUNCT",
}  # fmt: skip

_VERBS = "VB VBD VBG VBN VBP VBZ"
_BE_HAVE_DO = (
    "be am is are was were been being have has had having do does did "
    "'m 's 're 've 'd m s re ve d nt ai wo ca b r u se"
)
_NAMES = (
    "new united great greater grand holy high general first second third fourth fifth old big little "
    "long white black red green blue golden royal national international federal public central "
    "northern southern eastern western american african european asian british english french german "
    "chinese japanese russian indian irish italian spanish canadian mexican islamic muslim jewish "
    "christian catholic arab israeli iraqi iranian palestinian democratic republican medical human "
    "social political industrial economic environmental prime hidden good best free open special "
    "supreme presidential technical natural atomic nuclear digital"
)
_CLITICS = "'m 's 're 've 'd 'll m s re ve d ll t don didn doesn isn wasn couldn wouldn"

# (Penn tags, words, universal tags): where a word, in lower case, says more than its tag.
_WORD_ROWS = [
    (_VERBS, _BE_HAVE_DO, "AUX VERB"),
    (_VERBS, "get gets got getting gotten", "AUX VERB"),
    ("DT", "this that these those", "DET PRON"),
    ("WDT", "that", "PRON"),
    ("CC", "& + /", "CCONJ"),
    ("IN", "@", "ADP"),
    ("IN", "if because whether although though unless lest whereas that cos cuz 'cause", "SCONJ"),
    ("IN", "out up down off over through about around along", "ADP SCONJ ADV"),
    ("RB", "not n't nt n", "PART"),
    ("RB", "so", "ADV SCONJ"),
    ("NN", "someone something somebody anyone anything anybody everyone everything everybody", "PRON"),
    ("NN", "nothing nobody none no-one", "PRON"),
    ("WP", "whatever", "INTJ PRON"),
    ("NNP NN", "i", "PRON"),
    ("NNP NN SYM", _CLITICS, ANY),
    ("NNP NNPS", _NAMES, "ADJ PROPN"),
    ("NN FW", "etc etc. ect", "NOUN"),
    ("UH", "please thanks thank", "INTJ NOUN VERB"),
]  # fmt: skip


def _spread(rows: Sequence[tuple[str, str, str]]) -> dict[str, dict[str, str]]:
    """Rows as a table: Penn tag -> word -> universal tags."""
    table: dict[str, dict[str, str]] = {}
    for tags, words, universal in rows:
        for tag in tags.split():
            table.setdefault(tag, {}).update(dict.fromkeys(words.split(), universal))
    return table


BY_TAG_AND_WORD = _spread(_WORD_ROWS)  # plain JSON, as BY_TAG is

_STRAIGHT = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"'})


def straight_quotes(word: str) -> str:
    """A word with typewriter's quotes."""
    return word.translate(_STRAIGHT)


def universal_tags(tag: str, word: str) -> frozenset[str]:
    """Universal tags that a word with a Penn tag may have; of an unknown tag, all.

    A word without a letter or digit is a punctuation mark or a symbol, even where its tag says it is a noun.
    """
    known = BY_TAG_AND_WORD.get(tag, {}).get(straight_quotes(word).lower())
    if known is None and not any(map(str.isalnum, word)) and BY_TAG.get(tag) not in ("PUNCT", "SYM", "PART"):
        known = "PUNCT SYM"
    if known is None and tag in ("NN", "NNP", "NNPS") and not any(map(str.isalpha, word)):
        known = "NUM PROPN NOUN X"
    if known is None:
        known = " ".join(BY_TAG.get(part, ANY) for part in tag.split("|"))
    return frozenset(known.split())
