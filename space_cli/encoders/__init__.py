"""How to embed images and texts for the pool: one file an encoder."""
