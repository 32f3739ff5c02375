"""What the tests of the examples share: TAP output, running programs."""

import subprocess
import sys

_results = []


def ok(good, name, detail=""):
    _results.append(bool(good))
    print(f"{'ok' if good else 'not ok'} {len(_results)} - {name}")
    if not good:
        print("".join(f"# {line}\n" for line in str(detail).splitlines()), end="")
    return good


def skip(name, why):
    _results.append(True)
    print(f"ok {len(_results)} - {name} # SKIP {why}")


def runs(name, *command, code=0, **more):
    """Runs a command that must end with this exit code."""
    result = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    ok(result.returncode == code, name, f"exit code {result.returncode}\n{result.stdout}{result.stderr}")
    return result


def finish():
    print(f"1..{len(_results)}")
    sys.exit(0 if all(_results) else 1)
