"""SERAC (Mitchell et al. 2022): its two networks, their training examples, and the routing between models."""
