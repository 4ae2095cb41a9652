"""How to try to bring a concept back: one file an attack."""
