"""What one GPU gives: the demo on it, and the costs of the chain at the shape of LLaVA-1.5-7B."""
