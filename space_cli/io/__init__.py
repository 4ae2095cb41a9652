"""The only package that opens files."""
