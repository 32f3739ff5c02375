#!/usr/bin/env python3
"""tty.py INPUT COMMAND...: runs COMMAND on a terminal of its own, types INPUT, prints what the terminal got.

The exit code is the command's. The terminal has 80 columns and no echo.
"""

import fcntl
import os
import struct
import subprocess
import sys
import termios

master, slave = os.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
mode = termios.tcgetattr(slave)
mode[1] &= ~termios.OPOST
mode[3] &= ~termios.ECHO
termios.tcsetattr(slave, termios.TCSANOW, mode)
process = subprocess.Popen(sys.argv[2:], stdin=slave, stdout=slave, stderr=slave)
os.close(slave)
os.write(master, sys.argv[1].encode().decode("unicode_escape").encode())
while True:
    try:
        got = os.read(master, 65536)
    except OSError:  # nobody has the terminal open any more
        break
    if not got:
        break
    sys.stdout.buffer.write(got)
sys.exit(process.wait())
