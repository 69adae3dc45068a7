"""Gaussian diffusion on tensors of any shape [B, ...]: noise curves, samplers, guidance, corrections, losses."""
