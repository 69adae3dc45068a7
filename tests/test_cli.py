"""How scripts end: one sentence and exit code 2 for what cannot be done, silence for a reader who has left."""

import subprocess
import sys

import pytest
import torch

from textdiff.cli import run


def ending(error: BaseException) -> int:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as stopped:
        run(main)
    return stopped.value.code


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("This\nis wrong: mend it."), "error: This is wrong: mend it.\n"),
        (FileNotFoundError("No file x: give one."), "error: No file x: give one.\n"),
        (ValueError(), "error: ValueError\n"),
        (MemoryError(), "asks for more than can be computed here (MemoryError): give a smaller one.\n"),
        (OverflowError("cannot fit 'int'"), "more than can be computed here (cannot fit 'int'): give a smaller one.\n"),
        (RecursionError("maximum depth"), "more than can be computed here (maximum depth): give a smaller one.\n"),
    ],
)
def test_what_cannot_be_is_one_sentence(capsys: pytest.CaptureFixture[str], error: BaseException, said: str) -> None:
    assert ending(error) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ") and printed.err.endswith(said)


def test_a_tensor_beyond_the_memory_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(lambda: torch.zeros(2**55))
    assert stopped.value.code == 2 and "(out of memory): give a smaller one." in capsys.readouterr().err


@pytest.mark.parametrize("words", ["CUDA out of memory. Tried to allocate", "Storage size calculation overflowed"])
def test_torch_s_other_words_for_it(capsys: pytest.CaptureFixture[str], words: str) -> None:
    assert ending(RuntimeError(words)) == 2 and "(out of memory)" in capsys.readouterr().err


def test_a_mistake_of_ours_is_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="ours"):
        run(lambda: (_ for _ in ()).throw(RuntimeError("ours")))


def test_stopping_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert ending(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "stopped\n"


def test_a_reader_who_leaves_is_no_error() -> None:
    code = "from textdiff.cli import run; run(lambda: [print('x' * 99) for _ in range(9999)])"
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writer.stdout is not None and writer.stderr is not None
    assert writer.stdout.read(5) == b"xxxxx"
    writer.stdout.close()
    assert (writer.wait(timeout=60), writer.stderr.read()) == (1, b"")
