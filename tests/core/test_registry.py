"""Registries: names in, things out, and errors that help."""

from __future__ import annotations

import pytest

from tfshed.core.registry import Registry


def table():
    found = Registry("criterion")

    @found.register("magnitude")
    class Magnitude:
        pass

    @found.register("random")
    @found.register("chance")
    class Random:
        pass

    return found, Magnitude, Random


def test_what_is_registered_is_found_unchanged_and_in_order():
    found, magnitude, random = table()
    assert found.get("magnitude") is magnitude and found.get("random") is random
    assert list(found) == ["magnitude", "chance", "random"] and len(found) == 3
    assert found.name_of(random) == "chance" and found.name_of(int) is None
    assert "random" in found and "rnd" not in found


def test_an_unknown_name_lists_the_known_ones_and_the_nearest():
    found, *_ = table()
    text = (
        r"^criterion: expected one of 'magnitude', 'chance', 'random', received 'magnitud'\. "
        r"Did you mean 'magnitude'\?$"
    )
    with pytest.raises(ValueError, match=text):
        found.get("magnitud")
    with pytest.raises(ValueError, match=r"^config.prune.criterion: .* received 'zzz'\.$"):
        found.get("zzz", path="config.prune.criterion")


@pytest.mark.parametrize("bad", [None, 3, ["magnitude"], ""])
def test_what_is_no_name_is_an_error(bad):
    found, *_ = table()
    with pytest.raises(ValueError, match="criterion: expected one of"):
        found.get(bad)
    with pytest.raises(ValueError, match="criterion: expected a name"):
        found.register(bad)


def test_a_name_belongs_to_one_definition_which_may_be_entered_again():
    found, *_ = table()

    def define(value):
        @found.register("mine")
        def mine():
            return value

        return mine

    define(1)
    again = define(2)
    assert found.get("mine") is again and found.get("mine")() == 2
    with pytest.raises(ValueError, match=r"expected a name that is free, received 'mine', which"):
        found.register("mine")(dict)
    assert found.get("mine") is again
