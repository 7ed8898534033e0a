"""What every generator that fills templates must keep to; run by the tests of each."""

from __future__ import annotations

import numpy as np
import pytest

from discovery.generators.base import Filler, SamplingOptions
from discovery.templates import Template
from discovery.validity import judge
from discovery.vocabulary import ELEMENTS, FIRST_ELEMENT

FREE, CONSTRAINED = False, True
EACH_TEMPLATE = pytest.mark.parametrize(
    ("text", "constrained"),
    [
        ("Li ? O", FREE),
        ("Li ? O", CONSTRAINED),
        ("Sr Ti O ? ?", CONSTRAINED),
        ("* O2", FREE),
        ("Na2 * ?", FREE),
        ("? * ?", FREE),
        ("* ? O2", CONSTRAINED),
    ],
)


def written(drawn):
    """Token ids of the atoms of a sample."""
    return [FIRST_ELEMENT + ELEMENTS.index(symbol) for symbol in drawn.sequence.split()[:-1]]


def check_completions(generator: Filler, text: str, options: SamplingOptions, scores) -> None:
    """25 completions keep what is given, are in order, follow the seed, and carry the likelihood of `scores`."""
    template = Template.parse(text)
    samples = generator.fill(template, 25, np.random.default_rng(0), options)
    assert len(samples) == 25
    for drawn in samples:
        assert written(drawn) == sorted(written(drawn))
        left = list(drawn.sequence.split()[:-1])
        for symbol in template.given:
            left.remove(symbol)
        gaps = len(template.canvas) - len(template.given)
        assert len(left) >= gaps if template.open_ended else len(left) == gaps
        assert judge(drawn.formula).accepted or not options.constrained
        assert drawn.log_probability == pytest.approx(scores(generator.network, [written(drawn)])[0], abs=1e-4)
    assert samples == generator.fill(template, 25, np.random.default_rng(0), options)
