"""Which optimizers see masked gradients."""

from __future__ import annotations

import keras
import pytest

from tfshed.attach.mixing import mixes_elements

pytestmark = pytest.mark.backend
optimizers = keras.optimizers


class Own(optimizers.Muon):
    """A subclass under a name of its own."""


@pytest.mark.parametrize(
    "make, mixes",
    [
        (lambda: optimizers.SGD(momentum=0.9), False),
        (lambda: optimizers.AdamW(clipvalue=1.0), False),
        (lambda: optimizers.Adam(clipnorm=1.0), True),
        (lambda: optimizers.SGD(global_clipnorm=1.0), True),
        (optimizers.Adafactor, True),
        (optimizers.Lamb, True),
        (Own, True),
    ],
)
def test_an_optimizer_mixes_where_one_update_depends_on_other_gradients(make, mixes):
    assert mixes_elements(make()) is mixes


def test_an_optimizer_of_several_mixes_if_one_of_them_does():
    class Several:
        optimizers = (optimizers.SGD(), optimizers.Lamb())

    assert mixes_elements(Several()) and not mixes_elements(optimizers.SGD())
