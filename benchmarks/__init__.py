"""Measurements that are too long or too noisy for tests; each prints the command that gives it again."""
