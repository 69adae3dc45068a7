"""Dependency trees as they are asked about: what a word does, what is below it, what says something."""

from __future__ import annotations

from collections.abc import Iterable

from textdiff.text.treebanks import ROOT_HEAD, Dependencies

WORD_RELATIONS = frozenset(  # of words that are no phrases, whatever depends on them
    "aux case cc compound cop det fixed flat goeswith mark nmod:desc punct reparandum".split()
)
SUBJECTS = ("nsubj", "csubj", "expl")
VERB_TAGS = ("VERB", "AUX")
WH_WORDS = frozenset(
    "who whom whose which what where when why how whoever whatever whichever wherever".split()
)


class DependencyTree:
    """A sentence with its Universal Dependencies, words named by their places.

    Args:
        sentence: its words and what they depend on.
    """

    def __init__(self, sentence: Dependencies) -> None:
        self.words, self.tags, self.heads, self.relations, self.features = sentence
        self.children: list[list[int]] = [[] for _ in self.words]
        for word, head in enumerate(self.heads):
            if head != ROOT_HEAD:
                self.children[head].append(word)

    def relation(self, word: int) -> str:
        """The relation without its subtype."""
        return self.relations[word].partition(":")[0]

    def role(self, word: int) -> str:
        """The relation with its subtype; of a conjunct, that of the first one."""
        while self.relation(word) == "conj":
            word = self.heads[word]
        return self.relations[word]

    def is_clause(self, head: int) -> bool:
        """Whether a word with its dependents says something of something."""
        role = self.role(head)
        if {role, role.partition(":")[0]} & (WORD_RELATIONS | {"amod", "nummod"}):
            return False
        below = {self.relation(child) for child in self.children[head]}
        return self.tags[head] in VERB_TAGS or bool(below & {"cop", *SUBJECTS})

    def is_to(self, word: int) -> bool:
        """Whether a word is the "to" of an infinitive."""
        return self.tags[word] == "PART" and self.words[word].lower() == "to"

    def verbals(self, head: int) -> list[int]:
        """Auxiliaries, copula and "to" of a clause."""
        kinds = {child: self.relation(child) for child in self.children[head]}
        return [c for c in kinds if kinds[c] in ("aux", "cop") or (kinds[c] == "mark" and self.is_to(c))]

    def marks(self, head: int) -> list[int]:
        """Conjunctions that open a clause."""
        mine = [child for child in self.children[head] if child < head]
        return [child for child in mine if self.relation(child) == "mark" and not self.is_to(child)]

    def has_subject(self, head: int) -> bool:
        """Whether a clause has a subject of its own before its head."""
        return any(child < head and self.relation(child) in SUBJECTS for child in self.children[head])

    def opens(self, places: Iterable[int], role: str) -> bool:
        """Whether words begin with a wh-word, or with a preposition and one."""
        for word in sorted(places):
            form, tag = self.words[word].lower(), self.tags[word]
            if tag not in ("ADP", "PUNCT"):
                relative = form == "that" and role == "acl:relcl"
                return tag in ("PRON", "DET", "ADV") and (form in WH_WORDS or relative)
        return False

    def projection(self, word: int) -> set[int]:
        """A word and all below it."""
        found, waiting = set(), [word]
        while waiting:
            found.add(waiting[-1])
            waiting += self.children[waiting.pop()]
        return found

    def own(self, head: int) -> list[int]:
        """What depends on a word, but for the conjunction before a conjunct."""
        conjunct = self.relation(head) == "conj"
        return [c for c in self.children[head] if not (conjunct and c < head and self.relation(c) == "cc")]
