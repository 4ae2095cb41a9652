"""What of a source can be read."""

from space_cli.io.entry import ImageFault
from space_cli.io.sources import entries


def outcome(path):
    """Return what can be read by name, and the reasons of the rest."""
    good, bad = {}, []
    for entry in entries(str(path)):
        try:
            good[entry.member] = entry.read()
        except ImageFault as fault:
            bad.append(fault.reason)
    return good, bad
