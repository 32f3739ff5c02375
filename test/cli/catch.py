#!/usr/bin/env python3
"""catch.py SIGNAL PATH COMMAND...: runs COMMAND and sends it SIGNAL as soon as it catches SIGINT and PATH is there ('-': no path).

The exit code is the command's, 128 and the signal's number if that ended it.
"""

import os
import signal
import subprocess
import sys

number = getattr(signal, "SIG" + sys.argv[1])
path = sys.argv[2]
with subprocess.Popen(sys.argv[3:], stdin=subprocess.DEVNULL) as process:
    while process.poll() is None:
        with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
            caught = next((int(line.split()[1], 16) for line in file if line.startswith("SigCgt:")), 0)
        if caught >> (signal.SIGINT - 1) & 1 and (path == "-" or os.path.exists(path)):
            process.send_signal(number)
            break
code = process.returncode
sys.exit(code if code >= 0 else 128 - code)
