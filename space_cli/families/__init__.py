"""Where the layers of a model family are: one file a Hugging Face model_type."""
