"""Gaussian diffusion on tensors [B, ...] of any kind: curves, samplers, guidance, corrections, losses."""
