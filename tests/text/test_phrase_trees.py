"""Constituents out of dependencies: sentences drawn by hand, and what holds for every sentence there is."""

from itertools import pairwise
from pathlib import Path

import pytest

from textdiff.text.phrase_trees import phrase_tree, phrases
from textdiff.text.treebanks import Dependencies, read_dependencies
from textdiff.text.trees import Tree, bracketed, read_trees


def parsed(rows: str) -> Dependencies:
    """A sentence from "word TAG head relation" rows, divided by " / "; "!" behind the tag: a finite verb."""
    words, tags, heads, relations = zip(*(row.split() for row in rows.split(" / ")))
    features = ["VerbForm=Fin" if tag.endswith("!") else "_" for tag in tags]
    plain = [tag.rstrip("!") for tag in tags]
    return Dependencies(list(words), plain, [int(head) - 1 for head in heads], list(relations), features)


def drawn(text: str) -> Tree:
    """A tree whose words have no tags: "(S (NP It) (VP is (ADJP cheap)) .)"."""
    parts = text.replace("(", " ( ").replace(")", " ) ").split()
    leaves = [
        part if "(" in (before, part) or part == ")" else f"(X {part})"
        for before, part in pairwise(["", *parts])
    ]  # fmt: skip
    return read_trees(f"(TOP {' '.join(leaves).replace('( ', '(')})")[0]


DRAWINGS = {
    "a predicate with a copula, a phrase in a phrase": (
        "The DET 2 det / Vaults PROPN 7 nsubj / is AUX! 7 cop / a DET 7 det / cheap ADJ 7 amod / "
        "Japanese ADJ 7 amod / pub NOUN 0 root / near ADP 9 case / Café PROPN 7 nmod / Rouge PROPN 9 flat / "
        ". PUNCT 7 punct",
        "(S (NP The Vaults) (VP is (NP a cheap Japanese pub (PP near (NP Café Rouge)))) .)",
    ),
    "auxiliaries, an adverb, a pronoun": (
        "It PRON 5 nsubj / has AUX! 5 aux / always ADV 5 advmod / been AUX 5 aux:pass / rated VERB 0 root / "
        "very ADV 7 advmod / highly ADV 5 advmod / . PUNCT 5 punct",
        "(S (NP It) (VP has (ADVP always) (VP been (VP rated (ADVP very highly)))) .)",
    ),
    "what a predicate adjective takes, and what its clause does": (
        "Sadly ADV 6 advmod / it PRON 6 nsubj / is AUX! 6 cop / not PART 6 advmod / very ADV 6 advmod / "
        "good ADJ 0 root / for ADP 8 case / kids NOUN 6 obl / . PUNCT 6 punct",
        "(S (ADVP Sadly) (NP it) (VP is not (ADJP very good (PP for (NP kids)))) .)",
    ),
    "an adverb before a noun predicate is its clause's": (
        "It PRON 5 nsubj / is AUX! 5 cop / also ADV 5 advmod / a DET 5 det / pub NOUN 0 root",
        "(S (NP It) (VP is (ADVP also) (NP a pub)))",
    ),
    "a predicate with a preposition": (
        "It PRON 5 nsubj / is AUX! 5 cop / in ADP 5 case / the DET 5 det / centre NOUN 0 root",
        "(S (NP It) (VP is (PP in (NP the centre))))",
    ),
    "there is": (
        "There PRON 2 expl / is VERB! 0 root / a DET 4 det / pub NOUN 2 nsubj / by ADP 7 case / "
        "the DET 7 det / river NOUN 2 obl",
        "(S (NP There) (VP is (NP a pub) (PP by (NP the river))))",
    ),
    "a question": (
        "Is AUX! 3 cop / it PRON 3 nsubj / cheap ADJ 0 root / ? PUNCT 3 punct",
        "(S Is (NP it) (ADJP cheap) ?)",
    ),
    "a relative clause that a pronoun opens, one that nothing opens": (
        "A DET 2 det / pub NOUN 8 nsubj / that PRON 4 nsubj / serves VERB! 2 acl:relcl / food NOUN 4 obj / "
        "you PRON 7 nsubj / like VERB! 5 acl:relcl / closed VERB! 0 root",
        "(S (NP A pub (SBAR (WHNP that) (S (VP serves (NP food (SBAR (S (NP you) (VP like))))))))"
        " (VP closed))",
    ),
    "a wh-phrase with a preposition": (
        "The DET 2 det / town NOUN 0 root / in ADP 4 case / which PRON 6 obl / she PRON 6 nsubj / "
        "lives VERB! 2 acl:relcl",
        "(FRAG (NP The town (SBAR (WHPP in (WHNP which)) (S (NP she) (VP lives)))))",
    ),
    "a participle and an infinitive behind nouns": (
        "A DET 2 det / pub NOUN 0 root / located VERB 2 acl / here ADV 3 advmod / to PART 6 mark / "
        "eat VERB 2 acl / in ADP 6 obl",
        "(FRAG (NP A pub (VP located (ADVP here)) (S (VP to (VP eat (ADVP in))))))",
    ),
    "conjunctions": (
        "If SCONJ 3 mark / you PRON 3 nsubj / want VERB! 9 advcl / to PART 5 mark / eat VERB 3 xcomp / "
        ", PUNCT 3 punct / I PRON 9 nsubj / 'd AUX! 9 aux / say VERB 0 root / that SCONJ 12 mark / "
        "she PRON 12 nsubj / cooks VERB! 9 ccomp / . PUNCT 9 punct",
        "(S (SBAR If (S (NP you) (VP want (S (VP to (VP eat)))))) , (NP I)"
        " (VP 'd (VP say (SBAR that (S (NP she) (VP cooks))))) .)",
    ),
    "single words side by side are no phrases": (
        "Fish NOUN 4 nsubj / and CCONJ 3 cc / chips NOUN 1 conj / cost VERB! 0 root / money NOUN 4 obj",
        "(S (NP Fish and chips) (VP cost (NP money)))",
    ),
    "others are; a preposition that is not repeated is everyone's": (
        "Between ADP 3 case / the DET 3 det / bar NOUN 0 root / , PUNCT 6 punct / a DET 6 det / "
        "pub NOUN 3 conj / and CCONJ 8 cc / Ann PROPN 3 conj",
        "(FRAG (PP Between (NP (NP the bar) , (NP a pub) and (NP Ann))))",
    ),
    "a preposition that is repeated is its own": (
        "In ADP 2 case / Rome PROPN 0 root / or CCONJ 5 cc / in ADP 5 case / Paris PROPN 2 conj",
        "(FRAG (PP (PP In (NP Rome)) or (PP in (NP Paris))))",
    ),
    "verbs that share an auxiliary": (
        "You PRON 3 nsubj / can AUX! 3 aux / eat VERB 0 root / or CCONJ 5 cc / drink VERB 3 conj",
        "(S (NP You) (VP can (VP eat or drink)))",
    ),
    "verbs that share a subject alone": (
        "It PRON 3 nsubj / is AUX! 3 cop / cheap ADJ 0 root / and CCONJ 5 cc / serves VERB! 3 conj / "
        "fish NOUN 5 obj / . PUNCT 3 punct",
        "(S (NP It) (VP (VP is (ADJP cheap)) and (VP serves (NP fish))) .)",
    ),
    "adjectives that share a copula": (
        "It PRON 3 nsubj / is AUX! 3 cop / cheap ADJ 0 root / , PUNCT 5 punct / good ADJ 3 conj / "
        "and CCONJ 7 cc / open ADJ 3 conj",
        "(S (NP It) (VP is (ADJP cheap , good and open)))",
    ),
    "clauses side by side": (
        "She PRON 2 nsubj / cooks VERB! 0 root / and CCONJ 5 cc / we PRON 5 nsubj / eat VERB! 2 conj / "
        ". PUNCT 2 punct",
        "(S (S (NP She) (VP cooks)) and (S (NP we) (VP eat)) .)",
    ),
    "possessives": (
        "Her PRON 4 nmod:poss / dog NOUN 4 nmod:poss / 's PART 2 case / hat NOUN 0 root",
        "(FRAG (NP Her (NP dog 's) hat))",
    ),
    "numbers": (
        "More ADJ 3 advmod / than ADP 1 fixed / 20 NUM 4 nummod / pubs NOUN 5 nsubj / cost VERB! 0 root / "
        "£ SYM 5 obj / 20 NUM 6 nummod",
        "(S (NP (QP (ADJP More than) 20) pubs) (VP cost (NP £ 20)))",
    ),
    "attributes, and what has a degree": (
        "A DET 5 det / kid NOUN 3 obl:unmarked / friendly ADJ 5 amod / cheap ADJ 5 amod / pub NOUN 0 root",
        "(FRAG (NP A (ADJP kid friendly) cheap pub))",
    ),
    "brackets that close stay, other marks go": (
        "Ann PROPN 7 nsubj / , PUNCT 3 punct / cook NOUN 1 appos / ( PUNCT 5 punct / 19 NUM 3 appos / "
        ") PUNCT 5 punct / left VERB! 0 root",
        "(S (NP Ann , (NP cook ( (NP 19) ))) (VP left))",
    ),
    "no dependents, no phrase": ("? PUNCT 0 root", "(FRAG ?)"),
    "an order": ("Go VERB 0 root / up ADP 1 compound:prt / ! PUNCT 1 punct", "(S (VP Go (PRT up)) !)"),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWINGS)
def test_drawings(name: str) -> None:
    rows, wanted = DRAWINGS[name]
    found = phrase_tree(parsed(rows))
    escaped = wanted.replace("( (NP 19) )", "-LRB- (NP 19) -RRB-")
    assert (found.words, found.spans) == (drawn(escaped).words, drawn(escaped).spans), bracketed(found)


def test_words_apart_from_their_head_are_left_out() -> None:
    """ "A pub closed with a view": the view is the pub's."""
    sentence = parsed(
        "A DET 2 det / pub NOUN 3 nsubj / closed VERB! 0 root / with ADP 6 case / a DET 6 det / "
        "view NOUN 2 nmod"
    )
    assert phrase_tree(sentence).spans == drawn("(S (NP A pub) (VP closed) (PP with (NP a view)))").spans
    assert [(phrase.label, phrase.span()) for phrase in phrases(sentence) if not phrase.is_whole()] == [
        ("NP", (0, 2))
    ]


def test_the_real_ones(shared_data: Path) -> None:
    names = ("en_ewt-ud-dev", "en_ewt-ud-test", "en_pud-ud-test")
    sentences = [s for name in names for s in read_dependencies(shared_data / "syntax" / f"{name}.conllu.gz")]
    labels: set[str] = set()
    total = torn = 0
    for sentence in sentences:
        tree = phrase_tree(sentence)  # which looks whether it is one
        assert list(tree.words) == sentence.words
        assert any((i, j) == (0, len(tree.words)) for i, j, _ in tree.spans)
        labels.update(part for _, _, chain in tree.spans for part in chain.split("::"))
        found = phrases(sentence)
        total += len(found)
        torn += sum(not phrase.is_whole() for phrase in found)
    assert len(sentences) == 5078 and total > 50_000
    assert torn < 0.005 * total
    assert labels == set("ADJP ADVP FRAG INTJ NP PP PRT QP S SBAR VP WHADJP WHADVP WHNP WHPP".split())


def test_of_two_phrases_one_holds_the_other_or_none_of_it(shared_data: Path) -> None:
    for sentence in read_dependencies(shared_data / "syntax" / "en_pud-ud-test.conllu.gz")[:200]:
        found = [phrase.places for phrase in phrases(sentence)]
        assert all(
            before >= after or not before & after for k, after in enumerate(found) for before in found[:k]
        )
