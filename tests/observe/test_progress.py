"""Progress: one line on a terminal, few lines elsewhere."""

from __future__ import annotations

import io

import pytest

from tfshed.observe import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def train(stream, epochs=3, steps=4, first=0, logs=None):
    bar = progress.Progress("training", ("accuracy",), stream)
    bar.set_params({"epochs": epochs, "steps": steps})
    bar.on_train_begin()
    for epoch in range(first, epochs):
        bar.on_epoch_begin(epoch)
        for batch in range(steps or 4):
            bar.on_train_batch_end(batch)
        bar.on_epoch_end(epoch, logs or {"accuracy": 0.5})
    bar.on_train_end()
    return stream.getvalue()


def test_a_file_gets_one_line_from_a_short_run():
    assert train(io.StringIO()) == "training  12/12 steps  0 s  accuracy 0.500\n"


def test_a_file_gets_lines_with_the_time_left_from_a_long_run(monkeypatch):
    monkeypatch.setattr(progress, "LINE", 0.0)
    text = train(io.StringIO())
    assert len(text.splitlines()) == 13
    # The first step compiles, so there is no telling from it.
    assert "left" not in text.splitlines()[0]
    assert "left" in text.splitlines()[1]
    assert "\r" not in text


def test_a_terminal_gets_one_line_drawn_over(monkeypatch):
    monkeypatch.setattr(progress, "REDRAW", 0.0)
    text = train(Terminal())
    assert text.count("\n") == 1
    frames = text.strip().split("\r")
    assert "[....................]  0/12 steps" in frames[0]
    assert "[##########..........]  6/12 steps" in frames[6]
    # A shorter line wipes the longer one before it.
    assert frames[-1].startswith("training  12/12 steps")
    assert len(text.split("\r")[-1].rstrip("\n")) >= len(frames[-2].rstrip())


def test_epochs_before_the_first_count_as_done():
    assert "12/12 steps" in train(io.StringIO(), first=2)


def test_several_fits_of_one_run_are_one_line():
    stream = io.StringIO()
    bar = progress.Progress("training", stream=stream, total=12, start=3)
    for epoch, steps in ((0, 1), (1, 4), (2, 4)):
        bar.set_params({"epochs": epoch + 1, "steps": steps})
        bar.on_train_begin()
        bar.on_epoch_begin(epoch)
        for batch in range(steps):
            bar.on_train_batch_end(batch)
        bar.on_train_end()
    assert stream.getvalue() == "training  12/12 steps  0 s\n"


@pytest.mark.parametrize("logs", [{"loss": 1.0}, {}])
def test_unknown_length_and_metrics_that_are_not_there(logs):
    bar = io.StringIO()
    assert train(bar, steps=None, logs=logs or {"loss": 1.0}) == "training  12 steps  0 s\n"
