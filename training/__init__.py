"""Train the bundled checkpoint from registry packages alone."""
