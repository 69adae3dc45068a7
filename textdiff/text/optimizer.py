"""The optimiser: Muon for the transformer's matrices, AdamW for everything else.

Muon (Jordan et al. 2024; torch.optim.Muon) steps along the orthogonalised momentum of a matrix; with the root mean
square of its steps matched to AdamW's (Liu et al., arXiv 2502.16982, section 2.2) both take learning rates of one size.
docs/log.md has what it gains.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

EMBEDDING_LEARNING_RATE = 1e-2
MUON_MULTIPLE = 2.5  # Muon's learning rate in AdamW's


class MuonAdamW(torch.optim.Optimizer):
    """Two optimisers that step, save and load as one.

    Args:
        matrices: Muon's parameter groups, each [m, n] of them.
        rest: AdamW's parameter groups.
        betas: AdamW's.
    """

    def __init__(
        self, matrices: list[dict[str, Any]], rest: list[dict[str, Any]], *, betas: tuple[float, float]
    ) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise RuntimeError(
                f"Training wants torch 2.9 or newer, for Muon; this is {torch.__version__}: upgrade torch."
            )
        self.muon = torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw")
        self.adamw = torch.optim.AdamW(rest, betas=betas, fused=True)
        super().__init__([*self.muon.param_groups, *self.adamw.param_groups], {})
        self._join()

    def _join(self) -> None:
        """Show both optimisers' groups, the very objects, so that schedules reach them."""
        self.param_groups = [*self.muon.param_groups, *self.adamw.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step of both; a closure is not taken."""
        if closure is not None:
            raise ValueError("This optimiser takes no closure: compute gradients first.")
        self.muon.step()
        self.adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """The state of both."""
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self.muon.load_state_dict(state_dict["muon"])
        self.adamw.load_state_dict(state_dict["adamw"])
        self._join()


def parameter_groups(model: nn.Module, learning_rate: float, weight_decay: float) -> dict[str, list[dict[str, Any]]]:
    """Groups by optimiser, "muon" and "adamw".

    Muon gets the matrices of a transformer's blocks; AdamW the word vectors (a rate of their own, no decay), all other
    matrices (decay) and the rest (no decay).
    """
    kinds: dict[str, list[Tensor]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        kinds[_kind(name, parameter)].append(parameter)
    groups = {
        "muon": [("blocks", learning_rate * MUON_MULTIPLE, weight_decay)],
        "adamw": [
            ("matrices", learning_rate, weight_decay), ("rest", learning_rate, 0.0),
            ("word vectors", EMBEDDING_LEARNING_RATE, 0.0),
        ],
    }  # fmt: skip
    return {
        optimizer: [{"params": kinds[k], "lr": lr, "weight_decay": decay} for k, lr, decay in rows if kinds[k]]
        for optimizer, rows in groups.items()
    }


def _kind(name: str, parameter: Tensor) -> str:
    """Which kind of parameter this is."""
    if name.endswith("denoiser.embedding.weight"):
        return "word vectors"
    if parameter.ndim < 2 or "from_" in name:
        return "rest"
    inside = any(part in name for part in ("blocks.", ".h.", "coder.layers."))  # ours, GPT-2's, Marian's
    return "blocks" if inside and min(parameter.shape) > 2 else "matrices"  # not the two rows of `LocalMix`
