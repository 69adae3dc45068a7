"""Constituency trees out of dependency trees (Universal Dependencies 2), drawn as the Penn treebank would.

A head with all that depends on it is a phrase; what kind of one, its universal tag and its relation say:
nouns, pronouns and numbers NP; with an adposition before it, PP around it; adjectives ADJP; adverbs ADVP;
numbers that count, if they are several words, QP; verbs and predicates with a copula clauses. A clause is S,
within SBAR where a conjunction or a wh-phrase opens it (or where none need: a relative clause, what is said);
from every auxiliary, copula, "to" and verb behind the subject to the clause's end there is a VP. Coordination
is a phrase over all conjuncts, each a phrase of its own unless all are single words; a conjunct that repeats
the first one's preposition, subject or auxiliary stands beside it from there on. Determiners, attributes of
one word, parts of names, particles, conjunctions and punctuation marks are no phrases; marks at the end of a
phrase are outside of it, but for the sentence's own, which is a clause or FRAG.

Noun phrases are flat: (NP a pub (PP near (NP it))), where Penn has a second NP around "a pub".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from textdiff.text.dependency_trees import SUBJECTS, VERB_TAGS, WORD_RELATIONS, DependencyTree
from textdiff.text.treebanks import ROOT_HEAD, Dependencies
from textdiff.text.trees import CHAIN, Span, Tree

ARGUMENTS = ("nsubj", "obj", "iobj", "obl", "nmod", "appos", "vocative", "dislocated", "expl")
UNMARKED = ("obl:unmarked", "nmod:unmarked", "obl:npmod", "obl:tmod", "nmod:npmod", "nmod:tmod")
OF_NOUNS = (
    "det", "amod", "nummod", "compound", "nmod", "acl", "case", "flat", "fixed", "appos", "goeswith"
)  # fmt: skip
AFTER_ADJECTIVES = ("obl", "xcomp", "ccomp", "nmod", "case", "flat", "fixed", "acl")
BESIDE = ("parataxis", "vocative", "discourse", "dislocated")  # of clauses, not of the phrase before them
CLAUSES = ("FRAG", "S", "SBAR")
NOUN_TAGS = ("NOUN", "PROPN", "PRON", "NUM", "SYM", "DET", "X")
LABELS = {"ADJ": "ADJP", "ADV": "ADVP", "ADP": "ADVP", "INTJ": "INTJ"} | dict.fromkeys(NOUN_TAGS, "NP")
OPENING = {")": "(", "]": "[", "}": "{", "-RRB-": "-LRB-"}
OPENED = ("acl", "advcl", "ccomp", "csubj", "xcomp")  # clauses that a wh-phrase opens


class Phrase(NamedTuple):
    """Some words, by their places, one of them the head."""

    places: frozenset[int]
    head: int
    label: str

    def span(self) -> tuple[int, int]:
        """The words around the head that stand together, from i to j - 1."""
        start = end = self.head
        while start - 1 in self.places:
            start -= 1
        while end in self.places:
            end += 1
        return start, end

    def is_whole(self) -> bool:
        """Whether that is all of them."""
        start, end = self.span()
        return end - start == len(self.places)


def phrase_tree(sentence: Dependencies) -> Tree:
    """The constituency tree of a sentence; words that stand apart from their phrase's head are not in it."""
    chains: dict[tuple[int, int], list[str]] = {}
    for phrase in phrases(sentence):
        chain = chains.setdefault(phrase.span(), [])
        chain += [phrase.label] if phrase.label not in chain else []
    spans: frozenset[Span] = frozenset((i, j, CHAIN.join(chain)) for (i, j), chain in chains.items())
    return Tree(tuple(sentence.words), tuple(sentence.tags), spans)


def phrases(sentence: Dependencies) -> list[Phrase]:
    """All phrases, outer ones before those inside of them; of any two, one holds the other or none of it."""
    return _Drawing(sentence).found


class _Drawing:
    """The phrases of one sentence, in `found`."""

    def __init__(self, sentence: Dependencies) -> None:
        self.tree = DependencyTree(sentence)
        self.found: list[Phrase] = []
        self.opening: set[int] = set()  # heads of wh-phrases
        root = sentence.heads.index(ROOT_HEAD)
        if not self.tree.is_clause(root):
            self.add(root, self.tree.projection(root), "FRAG")
        self.draw(root)

    def trimmed(self, places: Iterable[int]) -> frozenset[int]:
        """Places without punctuation marks at the ends, but for a bracket that closes."""
        kept, words = sorted(places), self.tree.words
        while kept and self.tree.tags[kept[0]] == "PUNCT":
            kept.pop(0)
        while kept and self.tree.tags[kept[-1]] == "PUNCT":
            opening = OPENING.get(words[kept[-1]])
            if opening and opening in [words[k] for k in kept]:
                break
            kept.pop()
        return frozenset(kept)

    def add(self, head: int, places: Iterable[int], label: str) -> None:
        kept = self.trimmed(places) if self.found else frozenset(places)  # the sentence keeps its marks
        if head in kept:
            self.found.append(Phrase(kept, head, label))

    def draw(self, head: int, *, inside: bool = False, shared: bool = False) -> None:
        """Phrases of a word and all below it.

        Args:
            head: the word.
            inside: in a phrase, no clause.
            shared: a conjunct in a VP, whose subject is the first one's.
        """
        if self.tree.is_clause(head):
            self.clause(head, shared=shared)
        else:
            self.phrase(head, self.tree.own(head), inside=inside)

    def phrase(self, head: int, below: list[int], *, inside: bool) -> None:
        """A phrase that is no clause, of a word and some of its dependents."""
        cases = [child for child in below if child < head and self.tree.relation(child) == "case"]
        start = max(cases, default=-1) + 1
        label = self.label(head, self.projections(head, below, start), inside=inside and not cases)
        layers = [(start, label)] if label else []
        if cases and label:
            layers.insert(0, (0, "WHPP" if head in self.opening else "PP"))
        conjuncts = [child for child in below if self.tree.relation(child) == "conj"]
        again = any(
            child < conjunct and self.tree.relation(child) == "case"
            for conjunct in conjuncts for child in self.tree.children[conjunct]
        )  # fmt: skip
        level = 0 if again else len(layers) - 1
        units = {child: self.tree.projection(child) for child in below} | {head: {head}}
        flat = self.layers(head, units, layers, conjuncts, level)
        for child in below:
            if not (flat and child in conjuncts):
                self.draw(child, inside=child not in conjuncts)

    def projections(self, head: int, below: list[int], start: int) -> frozenset[int]:
        """A word and those of its dependents that come from a place on, without marks at the ends."""
        return self.trimmed({head}.union(*(self.tree.projection(child) for child in below if child >= start)))

    def label(self, head: int, places: frozenset[int], *, inside: bool) -> str | None:
        """What a phrase is called; None if it is none."""
        role, tag, alone = self.tree.role(head), self.tree.tags[head], len(places) == 1
        base = role.partition(":")[0]
        if role == "compound:prt":
            return "PRT"
        if {role, base} & WORD_RELATIONS or (alone and base in ("amod", "nummod")):
            return None
        if base in ("amod", "nummod"):
            return "ADJP" if base == "amod" else "QP"
        if (role == "nmod:poss" and tag in ("PRON", "DET")) and alone:
            return None
        if inside and alone and (base == "advmod" or role in UNMARKED):
            return None
        found = "NP" if base in ARGUMENTS and tag in ("ADJ", "VERB") else LABELS.get(tag)
        return f"WH{found}" if found and head in self.opening else found

    def clause(self, head: int, *, shared: bool) -> None:
        """A clause: S, what opens it, its VPs; and its predicate, where that is no verb."""
        below = self.tree.own(head)
        predicate = self.predicate(head, below)
        rest = [child for child in below if child not in predicate]
        units = {child: self.tree.projection(child) for child in rest}
        units[head] = {head}.union(*map(self.tree.projection, predicate))
        copular = self.tree.tags[head] not in VERB_TAGS
        verbals = sorted([*self.tree.verbals(head), *([] if copular else [head])])
        subjects = [c for c in rest if self.tree.relation(c) in SUBJECTS and c < max([head, *verbals])]
        verbals = [word for word in verbals if word > max(subjects, default=-1)]
        opening, role = self.opening_of(head, units), self.tree.role(head)
        layers: list[tuple[int, str]] = []
        if opening or self.is_clear(head, bool(subjects)):
            layers.append((0, "SBAR"))
        said = layers or subjects or copular or any(map(self.tree.is_to, verbals))
        participle = role == "acl" and not said
        if layers or not (verbals and (shared or participle)):
            layers.append((max(opening, default=-1) + 1, "S"))
        sentential = len(layers) - 1
        layers += [(word, "VP") for word in verbals]
        conjuncts = [child for child in rest if self.tree.relation(child) == "conj"]
        beside = any(self.tree.has_subject(c) or self.tree.marks(c) for c in conjuncts) or not verbals
        if beside:
            repeated = layers[0][1] == "SBAR" and any(map(self.tree.marks, conjuncts))
            level = 0 if repeated else max(0, sentential)
        else:
            level = sentential + 1 if any(map(self.is_finite, conjuncts)) else len(layers) - 1
        flat = self.layers(head, units, layers, conjuncts, level)
        if copular:
            self.phrase(head, predicate, inside=False)
        for child in rest:
            if not (flat and child in conjuncts):
                self.draw(child, shared=child in conjuncts and not beside)

    def is_clear(self, head: int, subject: bool) -> bool:
        """Whether nothing need open a clause, for where it stands opens it."""
        relation = self.tree.relations[head]
        return relation == "acl:relcl" or (relation == "ccomp" and subject and self.tree.heads[head] < head)

    def is_finite(self, conjunct: int) -> bool:
        """Whether a conjunct cannot share the first one's auxiliaries."""
        return bool(self.tree.verbals(conjunct)) or "VerbForm=Fin" in self.tree.features[conjunct]

    def opening_of(self, head: int, units: dict[int, set[int]]) -> list[int]:
        """The words that open a clause: conjunctions, the head of a wh-phrase."""
        found, role = self.tree.marks(head), self.tree.role(head)
        words = [unit for unit in sorted(units) if self.tree.relation(unit) not in ("punct", "cc")]
        if role.partition(":")[0] in OPENED and self.tree.opens(units[words[0]], role):
            self.opening.add(words[0])
            found.append(words[0])
        return found

    def predicate(self, head: int, below: list[int]) -> list[int]:
        """What belongs to a predicate that is no verb; the rest belongs to its clause."""
        if self.tree.tags[head] in VERB_TAGS:
            return []
        relations = {child: self.tree.relation(child) for child in below}
        before = [c for c in below if c < head and relations[c] in ("aux", "cop", "mark", *SUBJECTS)]
        first = max(before, default=-1)
        noun = self.tree.tags[head] in NOUN_TAGS or not {"det", "case"}.isdisjoint(relations.values())
        found = []
        for child, relation in relations.items():
            if relation == "conj":
                mine = not self.tree.is_clause(child)
            elif noun:
                mine = child > first and relation in OF_NOUNS
            elif child < head:
                said = ("advcl", "cc", "punct", *BESIDE)  # of all of the clause, as "not" is
                mine = child > first and relation not in said and self.tree.tags[child] != "PART"
            else:
                mine = relation in AFTER_ADJECTIVES
            found += [child] if mine or self.tree.relations[child] == "cc:preconj" else []
        last = max([head, *found])
        return found + [child for child in below if relations[child] == "punct" and first < child < last]

    def layers(
        self, head: int, units: dict[int, set[int]], layers: list[tuple[int, str]], conjuncts: list[int],
        level: int,
    ) -> bool:
        """Phrases within phrases over the same end, each from a place on.

        Args:
            head: of them all.
            units: their parts, by the parts' heads.
            layers: (first place, label), outer ones first.
            conjuncts: heads of the other conjuncts, among the units.
            level: which of the layers the conjuncts are of.

        Returns:
            Whether all conjuncts are single words, and so no phrases.
        """  # fmt: skip
        first, start, flat = min(conjuncts, default=len(self.tree.words)), 0, False
        beside = {unit for unit in units if unit > head and self.tree.relation(unit) in BESIDE}
        for k, (place, label) in enumerate(layers):
            start = max(start, place)
            mine = {unit for unit in units if unit >= start} - (set() if label in CLAUSES else beside)
            mine -= set(conjuncts)
            before = {unit for unit in mine if unit < first and self.tree.relations[unit] != "cc:preconj"}
            narrow = set().union(*map(units.__getitem__, before))
            if not conjuncts or k <= level:
                self.add(head, set().union(*map(units.__getitem__, mine | set(conjuncts))), label)
            if conjuncts and k == level:
                sizes = [len(self.projections(c, self.tree.own(c), 0)) for c in conjuncts]
                flat = max(sizes) == 1 == len(self.trimmed(narrow))
            if conjuncts and k >= level and not flat:
                self.add(head, narrow, label)
        return flat
