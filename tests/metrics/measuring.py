"""Two checkpoints that know all but one name, and what a metric makes of them."""

from fakes import Table, knowing, probe, ranking

BEFORE = Table(knowing(), ranking())
AFTER = Table(knowing("panda"), ranking("panda"))


def measure(metric, after, *, before=BEFORE, look=None, **options):
    return metric.measure(before, after, look or probe(), metric.Options(**options))


def saying(answer, *, about="panda"):
    """Give one answer about one name, and the truth about all others."""
    truth = knowing()
    return Table(lambda name, question: answer if name == about else truth(name, question))
