"""Policies that ship with `space`, one TOML file each."""
