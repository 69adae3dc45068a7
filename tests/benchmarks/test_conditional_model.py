"""benchmarks/conditional_model.py: controls as words, a loss on texts alone, and texts for targets."""

import pytest
import torch

from textdiff.text.causal_rows import END, IGNORED, START
from textdiff.text.control_targets import Target
from textdiff.text.tokenizer import save_tokenizer, train_word_level
from textdiff.text.trees import read_trees


@pytest.fixture(scope="module")
def model(imported):
    return imported("conditional_model")


@pytest.fixture(scope="module")
def tokenizer():
    return train_word_level(["the dog saw 3 cats", "the cats saw a dog"], min_count=1)


@pytest.fixture(scope="module")
def writer(model, tokenizer, tmp_path_factory):
    """A random baseline of kind pos that knows the tags DET and NOUN."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    controls = model.ControlVocabulary.of(tokenizer, [["DET", "NOUN"]])
    config = transformers.GPT2Config(
        vocab_size=controls.size,
        n_positions=16,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=1,
        eos_token_id=2,
    )
    config.control_kind, config.control_words, config.control_window = "pos", controls.added, 6
    folder = tmp_path_factory.mktemp("writer")
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return model.ConditionalWriter(folder)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Target("semantic", content=("near", "The Mill")), "near : The Mill"),
        (Target("pos", tags=("DET", "NOUN")), "DET NOUN"),
        (Target("span", span=(3, 5, "S::NP")), "3 5 S::NP"),
        (Target("length", length=12), "12"),
        (Target("semantic+pos", content=("food", "Thai"), tags=("DET",)), "food : Thai DET"),
        (
            Target("tree", tree=((0, 3, "S"), (0, 1, "NP"), (1, 3, "VP"), (2, 3, "ADJP::NP"))),
            "(S (NP * ) (VP * (ADJP (NP * ) ) ) )",
        ),
        (Target("tree", tags=("DET", "NOUN"), tree=((0, 2, "NP"),)), "(NP DET NOUN )"),
        (Target("tree", tags=("NOUN", "PUNCT"), tree=((0, 1, "NP"),)), "(NP NOUN )"),
    ],
)
def test_controls_as_words(model, target, words):
    assert model.control_words(target) == words.split()


def test_a_tree_can_be_read_from_its_words(model):
    (tree,) = read_trees("(S (NP (DT A) (NN dog)) (VP (VBD saw) (S (VP (VB it)))) (. .))")
    words = model.tree_words(sorted(tree.spans))
    (again,) = read_trees(" ".join("(X *)" if word == "*" else word for word in words))
    assert again.spans == tree.spans and words.count("*") == 5


def test_words_of_the_text_keep_their_ids_and_others_get_new_ones(model, tokenizer):
    size = tokenizer.get_vocab_size()
    controls = model.ControlVocabulary.of(tokenizer, [["dog", "DET"], ["DET", "NOUN", "3"]])
    assert (
        controls.added == ["<control-end>", "<control-unknown>", "DET", "NOUN"] and controls.size == size + 4
    )
    dog, three = tokenizer.token_to_id("dog"), tokenizer.token_to_id("3")
    assert controls.prompt(["dog", "NOUN", "3", "VERB"]) == [dog, size + 3, three, size + 1, size]


def test_the_loss_is_that_of_texts_and_their_ends(model):
    pairs = [([20, 21, 30], [5, 6]), ([22, 30], [7]), ([23, 24, 25, 30], [8, 9, 10])]
    rows = model.ConditionalRows(pairs, 16, separator=30, total=None)
    charged, seen = [], []
    for k in range(len(rows)):
        ids, labels = rows[k]["input_ids"], rows[k]["labels"]
        kept = labels != IGNORED
        assert torch.equal(labels[kept], ids[kept])
        charged += labels[kept].tolist()
        seen += ids.tolist()
    assert sorted(charged) == sorted([5, 6, END, 7, END, 8, 9, 10, END])
    assert seen.count(START) == 3 and seen.count(30) == 3
    assert rows.tokens_per_row * len(rows) == pytest.approx(6)


def test_nothing_is_read_but_words_and_draws_repeat_by_seed(writer):
    target = Target("pos", tags=("DET", "NOUN", "VERB"))
    texts = writer.texts(target, 8, seed=1)
    known = set("the dog saw 3 cats a".split())
    assert len(texts) == 8 and all(
        0 < len(text.split()) <= 6 and set(text.split()) <= known for text in texts
    )
    state = torch.get_rng_state()
    assert texts == writer.texts(target, 8, seed=1) != writer.texts(target, 8, seed=2)
    assert torch.equal(torch.get_rng_state(), state)


def test_beams_find_one_text_without_chance_that_is_likelier_than_most(writer):
    target = Target("pos", tags=("DET",))
    (best,) = writer.texts(target, 9, seed=0, beams=4)
    assert writer.texts(target, 1, seed=5, beams=4) == [best]
    prompt = [START, *writer.controls.prompt(["DET"])]

    @torch.inference_mode()
    def per_token(text):
        words = writer.vocabulary.encode(text)
        ids = torch.tensor([[*prompt, *words, *([END] if len(words) < writer.window else [])]])
        logits = writer.model(ids).logits[0, :-1]
        logits[:, writer.barred] = -torch.inf
        nats = -logits.log_softmax(-1).gather(1, ids[0, 1:, None])[len(prompt) - 1 :]
        return float(nats.mean())

    drawn = [per_token(text) for text in writer.texts(target, 20, seed=0)]
    assert per_token(best) < sum(drawn) / len(drawn)


def test_what_the_writer_refuses(writer, model, tmp_path):
    with pytest.raises(ValueError, match="was trained for 'pos' and not for 'length'"):
        writer.texts(Target("length", length=3), 1, seed=0)
    with pytest.raises(ValueError, match="A control of 20 words is too long"):
        writer.texts(Target("pos", tags=("DET",) * 18), 1, seed=0)
    with pytest.raises(FileNotFoundError, match="give a folder that benchmarks/conditional.py wrote"):
        model.ConditionalWriter(tmp_path)


def test_a_plain_model_is_no_baseline(model, control_place):
    with pytest.raises(ValueError, match="was not trained on controls"):
        model.ConditionalWriter(control_place / "judge")
