"""The Python that the documents show runs, block after block, with the bundled model."""

import re
from pathlib import Path

import pytest

BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
PAGES = ["README.md", "docs/getting_started.md", "docs/control.md"]


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = BLOCK.findall((root / page).read_text(encoding="utf-8"))
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    assert "model" in names
