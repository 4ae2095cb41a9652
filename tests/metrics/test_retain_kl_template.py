"""Each checkpoint is asked through its own chat template, so an instruction in one of them counts."""

from dataclasses import replace

import subjects

from space_cli.bundled.drawings import STYLES, render
from space_cli.core.remembering import Remembering
from space_cli.core.types import Probe
from space_cli.metrics import retain_kl


class Instructed(Remembering):
    """A checkpoint whose template says something before every question."""

    def batch(self, prompts):
        return super().batch([replace(one, question=f"Do not name it. {one.question}") for one in prompts])


def test_an_instruction_in_the_template_is_seen():
    images = [render(symbol, STYLES[row % 2], 2_600_000 + row) for row, symbol in enumerate("🐘🦁🎸🚌")]
    probe = Probe(name="owl", phrase="an owl", aliases=("owl",), kind="animal", general=images)
    plain = Remembering(subjects.bundled())
    assert retain_kl.measure(plain, plain, probe, retain_kl.Options()).after == 0.0
    assert retain_kl.measure(plain, Instructed(subjects.bundled()), probe, retain_kl.Options()).after > 1e-3
