"""The longest run of words copied from the training text, for `evaluate`."""

import evaluate

from textdiff.metrics.copying import longest_copies, read_documents
from textdiff.metrics.modules import TextScores


class TextdiffLongestCopy(TextScores, evaluate.Measurement):
    """`compute(predictions, training=...)` -> longest_copy, mean_longest_copy (words), longest_copy_text."""

    description = "Longest run of words shared with the training text (documents, or a text file's path)."

    def scores(
        self, predictions: list[str], training: list[str] | str | None = None
    ) -> dict[str, float | str]:
        """The longest run of all, the mean over the texts, and the run itself."""
        if training is None:
            raise ValueError("The longest copy needs training=: a list of documents, or a text file's path.")
        documents = training if isinstance(training, list) else read_documents(training)
        lengths, longest = longest_copies(predictions, documents)
        mean = sum(lengths) / len(lengths)
        return {"longest_copy": max(lengths), "mean_longest_copy": mean, "longest_copy_text": longest}
