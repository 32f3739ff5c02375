#!/usr/bin/env python3
"""pins_model.py ROOT CC...: spin goes through every interleaving of the pin protocol, and finds the bugs seeded in it. TAP."""

import os
import shutil
import subprocess
import sys
import tempfile

from tap import finish, ok, runs, skip

MODEL = os.path.join(sys.argv[1], "test/model/pins.pml")
CC = sys.argv[2:]
STATES_ENOUGH = 10000  # fewer: the model was cut down to nothing


def explore(*defines):
    """What pan prints of the model with these defines."""
    with tempfile.TemporaryDirectory() as work:
        runs(f"spin {' '.join(defines)}", "spin", *defines, "-a", MODEL, cwd=work)
        runs("the checker builds", *CC, "-O2", "-w", "-DSAFETY", "-o", "pan", "pan.c", cwd=work)
        return subprocess.run(["./pan", "-m1000000"], capture_output=True, text=True, check=False, cwd=work).stdout


def states(text):
    before, found, _ = text.partition(" states, stored")
    return int(float(before.split()[-1])) if found else 0


if shutil.which("spin"):
    sound = explore()
    ok("errors: 0" in sound and "max search depth too small" not in sound, "no interleaving breaks the protocol", sound)
    ok(states(sound) > STATES_ENOUGH, f"and there are many: {states(sound)} states", sound)
    for bug in ["-DNO_RECHECK", "-DLATE_MOVE"]:
        ok("assertion violated" in explore(bug), f"{bug}: a reader uses what was freed")
else:
    skip("spin", "spin is not installed")
finish()
