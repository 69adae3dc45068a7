"""Trees: Penn brackets read as a linguist would, written and read back, and F1 counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textdiff.text.trees import (
    Tree,
    bracketed,
    brackets,
    corpus_labelled_f1,
    labelled_f1,
    read_trees,
    side_by_side,
)

DOG = "(S (NP-SBJ (DT The) (NN dog)) (VP (VBD saw) (NP (PRP me))) (. .))"


def test_a_tree_by_hand() -> None:
    (tree,) = read_trees(f"( {DOG} )")
    assert tree.words == ("The", "dog", "saw", "me", ".")
    assert tree.tags == ("DT", "NN", "VBD", "PRP", ".")
    assert tree.spans == {(0, 5, "S"), (0, 2, "NP"), (2, 4, "VP"), (3, 4, "NP")}


def test_trees_side_by_side() -> None:
    dog, hat = read_trees(f"{DOG} (NP (NN hat))")
    both = side_by_side([dog, hat])
    assert both.words == ("The", "dog", "saw", "me", ".", "hat")
    assert both.tags == ("DT", "NN", "VBD", "PRP", ".", "NN")
    assert both.spans == dog.spans | {(5, 6, "NP")}
    assert side_by_side([dog]) == dog


@pytest.mark.parametrize("root", ["", "ROOT ", "TOP ", "S1 "])
def test_the_root_is_dropped(root: str) -> None:
    assert read_trees(f"({root}{DOG})") == read_trees(DOG)


def test_traces_suffixes_and_empty_constituents_go() -> None:
    inner = "(S (NP-SBJ (-NONE- *-1)) (VP (TO to) (VP (VB go))))"
    text = f"((S (NP-SBJ-1 (NNP Ann)) (VP (VBZ wants) {inner}) (. .)))"
    (tree,) = read_trees(text)
    assert tree.words == ("Ann", "wants", "to", "go", ".")
    # The inner S has only its VP left: one span, both labels.
    assert tree.spans == {(0, 5, "S"), (0, 1, "NP"), (1, 4, "VP"), (2, 4, "S::VP"), (3, 4, "VP")}


def test_labels_lose_indices_and_second_choices() -> None:
    (tree,) = read_trees("(S (NP=2 (NN a) (NN b)) (PRT|ADVP (RP up) (RB on)) (-LRB- -LRB-))")
    assert tree.spans == {(0, 5, "S"), (0, 2, "NP"), (2, 4, "PRT")}
    assert tree.words[-1] == "(" and tree.tags[-1] == "-LRB-"


def test_words_stand_as_in_a_text() -> None:
    (tree,) = read_trees(r"(X (`` ``) (CD 1\/2) (SYM \*) ('' '') (-RRB- -RRB-) (NN a))")
    assert tree.words == ('"', "1/2", "*", '"', ")", "a")


def test_several_trees_one_after_another() -> None:
    assert len(read_trees(f"({DOG})\n({DOG})\n\n((NP (NN x) (NN y)))")) == 3
    assert read_trees("  \n") == []
    assert read_trees("((S (-NONE- *)))") == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("((S (NN a))", "1 brackets of .* are not closed"),
        ("(S (NN a)))", "closes that was never opened"),
        ("word (S (NN a))", "The word 'word' stands outside"),
        ("(S (NN a) word)", "The word 'word' stands outside"),
        ("(S (NN two words))", "The word 'words' stands outside"),
        ("(NP dog (NN x))", "The word 'dog' shares its bracket"),
    ],
)
def test_brackets_that_do_not_match_are_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_trees(text)


@pytest.mark.parametrize(
    ("spans", "why"),
    [
        ({(0, 2, "NP"), (1, 3, "VP")}, "cross"),
        ({(0, 3, "S"), (0, 2, "NP"), (1, 3, "VP")}, "cross"),
        ({(0, 4, "S")}, "does not fit a sentence of 3 words"),
        ({(2, 2, "S")}, "does not fit"),
        ({(0, 3, "")}, "does not fit"),
        ({(0, 3, "S"), (0, 3, "VP")}, "Two spans cover the words 0 to 3"),
    ],
)
def test_spans_that_are_no_tree_are_refused(spans: set, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Tree(("a", "b", "c"), ("X", "X", "X"), frozenset(spans))


def test_words_without_tags_are_refused() -> None:
    with pytest.raises(ValueError, match="2 words has 1 tags"):
        Tree(("a", "b"), ("X",), frozenset())


def test_written_by_hand() -> None:
    spans = frozenset({(0, 3, "S::VP"), (1, 3, "NP"), (1, 2, "QP")})
    tree = Tree(("see", "two", "("), ("VB", "CD", "-LRB-"), spans)
    assert bracketed(tree) == "(TOP (S (VP (VB see) (NP (QP (CD two)) (-LRB- -LRB-)))))"


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Random trees: halves of halves, each a constituent or none."""
    n = draw(st.integers(1, 8))
    spans, waiting = set(), [(0, n)]
    while waiting:
        i, j = waiting.pop()
        label = draw(st.sampled_from(["", "NP", "VP", "S::VP", "SBAR::S::VP"]))
        spans |= {(i, j, label)} if label else set()
        if j - i > 1:
            middle = draw(st.integers(i + 1, j - 1))
            waiting += [(i, middle), (middle, j)]
    words = draw(st.lists(st.sampled_from(["dog", "(", ")", "a/b", "S", "-", "é"]), min_size=n, max_size=n))
    return Tree(tuple(words), ("NN",) * n, frozenset(spans))


@given(trees())
def test_written_and_read_back(tree: Tree) -> None:
    assert read_trees(bracketed(tree)) == [tree]
    assert labelled_f1(tree.spans, tree.spans) == 1.0


def test_f1_by_hand() -> None:
    gold = {(0, 5, "S"), (0, 2, "NP"), (2, 5, "VP"), (3, 5, "NP")}
    guess = {(0, 5, "S"), (0, 2, "NP"), (2, 5, "NP")}  # two right of three guessed, of four wanted
    assert labelled_f1(gold, guess) == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))
    assert labelled_f1(guess, gold) == labelled_f1(gold, guess)


def test_f1_takes_chains_apart_and_counts_each() -> None:
    assert brackets({(0, 2, "NP::NP"), (0, 1, "NP")}) == {(0, 2, "NP"): 2, (0, 1, "NP"): 1}
    # Of S and VP, one is guessed.
    assert labelled_f1({(0, 2, "S::VP")}, {(0, 2, "VP")}) == pytest.approx(2 * 1 / 3)
    assert labelled_f1({(0, 2, "NP::NP")}, {(0, 2, "NP")}) == pytest.approx(2 * 1 / 3)
    assert labelled_f1({(0, 2, "NP")}, {(0, 2, "NP::NP")}) == pytest.approx(2 * 1 / 3)


def test_f1_at_its_ends() -> None:
    assert labelled_f1(set(), set()) == 1.0
    assert labelled_f1({(0, 1, "NP")}, set()) == labelled_f1(set(), {(0, 1, "NP")}) == 0.0
    assert labelled_f1({(0, 1, "NP")}, {(0, 1, "VP")}) == 0.0


def test_f1_of_many_counts_brackets_and_not_trees() -> None:
    golds = [{(0, 1, "NP")}, {(0, 3, "S"), (0, 2, "NP"), (2, 3, "VP")}]
    guesses = [set(), {(0, 3, "S"), (0, 2, "NP"), (2, 3, "VP")}]
    assert corpus_labelled_f1(golds, guesses) == pytest.approx(2 * 3 / (4 + 3))
    with pytest.raises(ValueError, match="1 guesses for 2 trees"):
        corpus_labelled_f1(golds, guesses[:1])
