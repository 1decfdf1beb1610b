"""SERAC's machinery (Mitchell et al. 2022): two networks, what they are taught, and the routing between models."""
