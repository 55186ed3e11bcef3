"""A run on digits that is killed and started again; a program for test_resume.py.

python killed.py BROKEN UNBROKEN MOMENT ...: a run in the folder BROKEN is killed at each moment in
turn, by SIGKILL in a process of its own, and then runs through; another in UNBROKEN runs through at
once. A moment is "step N" (before that batch), "write N" (with half of that checkpoint on the disk)
or "rows N" (between the N-th end of an epoch and its checkpoint). The processes are forked, before
TensorFlow starts a thread: importing it anew takes longer than a run.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from pathlib import Path

import tfshed_command

tfshed_command.import_tensorflow()

from tfshed.experiments import Run, Settings, checkpoints, recipe, save_checkpoints  # noqa: E402


def die():
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at_step(step):
    plain = save_checkpoints.SaveCheckpoints.on_train_batch_begin

    def on_train_batch_begin(self, batch, logs=None):
        plain(self, batch, logs)
        if self._epoch_start + self._offset + batch == step:
            die()

    save_checkpoints.SaveCheckpoints.on_train_batch_begin = on_train_batch_begin


def kill_in_write(step):
    plain = checkpoints.replace_file

    def replace_file(path, write):
        def half(beside):
            write(beside)
            if path.name == f"step-{step:08d}.npz":
                with beside.open("r+b") as file:
                    file.truncate(beside.stat().st_size // 2)
                die()

        plain(path, half)

    checkpoints.replace_file = replace_file


def kill_before_epochs_checkpoint(epoch):
    plain = save_checkpoints.SaveCheckpoints.on_epoch_end

    def on_epoch_end(self, number, logs=None):
        if number + 1 == epoch:
            die()
        plain(self, number, logs)

    save_checkpoints.SaveCheckpoints.on_epoch_end = on_epoch_end


KINDS = {"step": kill_at_step, "write": kill_in_write, "rows": kill_before_epochs_checkpoint}


def settings(workdir):
    config = recipe()
    config.initial_weights = "fresh"
    config.data.augmentation = "pad_crop_flip"
    config.data.eval_fraction = 0.3
    config.checkpoint.every_steps = 4
    config.model.name = "resnet8"
    config.model.options = {"width": 4, "bn_momentum": 0.9}
    prune = config.prune
    prune.epochs, prune.batch_size, prune.jit_compile = 3, 192, "false"
    prune.sparsity, prune.time_constant, prune.frequency = 0.6, 1.0, 3
    prune.threshold, prune.evaluate_updates = 2e-3, True
    prune.learning_rate.rates, prune.learning_rate.milestones = (0.1, 0.01), (2.0,)
    return Settings("prune", config, Path(workdir), seed=1, deterministic=True)


def run(folder):
    Run(settings(folder)).run(print_fn=lambda text: print(text.splitlines()[0], flush=True))


def in_a_process_of_its_own(function, *arguments):
    """Calls a function in a forked process; prints how that ended."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            function(*arguments)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(f"ended with {status}", flush=True)


def killed(folder, moment):
    kind, _, number = moment.partition(" ")
    KINDS[kind](int(number))
    run(folder)


def main(broken, unbroken, *moments):
    # It sheds on purpose.
    warnings.filterwarnings("ignore", message="the net has shed itself")
    for moment in moments:
        in_a_process_of_its_own(killed, broken, moment)
    in_a_process_of_its_own(run, broken)
    run(unbroken)


if __name__ == "__main__":
    main(*sys.argv[1:])
