#!/usr/bin/env python3
"""bench.py BITCASK_BENCH: every benchmark runs, in each way of running, and says what it did. Speaks TAP."""

import json
import os
import re
import sys
import tempfile

from tap import finish, ok, runs

BENCH = sys.argv[1]
ALL = (
    "fillsync fillbatch fillrandom fillseq overwrite readseq readrandom readmissing readhot readmany open "
    "ycsba ycsbb ycsbc ycsbd ycsbf deleterandom crc32"
).split()
LINE = re.compile(r"^([a-z0-9]+) +: +(\d+\.\d{3}) micros/op; +(\d+\.\d) MB/s +(\d+) ops/s")


def bench(*arguments, code=0):
    return runs(f"exit code {code}: {' '.join(arguments)}", BENCH, *arguments, code=code)


def benchmarks(text):
    """By name; an empty one if the text is no JSON."""
    try:
        return {one["name"]: one for one in json.loads(text)["benchmarks"]}
    except ValueError as error:
        ok(False, "JSON", f"{error}\n{text}")
        return {}


def check_lines():
    lines = bench("--num=2000").stdout.splitlines()
    ok([m.group(1) for m in map(LINE.match, lines) if m] == ALL, "a line for each benchmark", "\n".join(lines))
    for name in ["Keys", "Values", "Entries", "RawSize", "FileSystem", "CPU", "Kernel", "Date", "libbitcask"]:
        ok(any(re.match(rf"{name}: +\S", line) for line in lines), f"the header says {name}")


def check_json():
    for arguments in [[], ["--threads=3"], ["--no_mmap", "--value_size=0"], ["--sync", "--num=200", "--repeat=2"]]:
        found = benchmarks(bench("--num=2000", "--json", "--histogram", *arguments).stdout)
        ok(list(found) == ALL, "all of them in the JSON", list(found))
        ok(all(one["operations"] > 0 and one["micros_per_op"] > 0 for one in found.values()), "which did something", found)
        ok(all(one["p50_us"] <= one["p99_us"] <= one["max_us"] for one in found.values()), "with percentiles", found)


def check_counts():
    names = "fillseq,readrandom,readmissing,readseq,deleterandom,readrandom"
    found = json.loads(bench("--num=2000", "--reads=3000", "--json", f"--benchmarks={names}").stdout)["benchmarks"]
    ok([one["operations"] for one in found] == [2000, 3000, 3000, 2000, 2000, 3000], "as many operations as asked for", found)
    ok(found[1]["found"] == 3000 and found[2]["found"] == 0, "what was stored is found, what was not is not", found)
    ok(0 < found[4]["found"] < 2000 and found[5]["found"] < 3000, "what was deleted is gone", found)
    found = benchmarks(bench("--num=20000", "--json", "--benchmarks=fillbatch").stdout)
    ok(found["fillbatch"]["keys"] == 20000 and found["fillbatch"]["anon_bytes_per_key"] > 16, "memory a key", found)


def check_store(work):
    store = os.path.join(work, "store")
    other = ["--num=2000", "--db", store]
    bench(*other, "--benchmarks=fillseq")
    ok(bool(os.listdir(store)), "a store with a name is kept")
    ok("2000 of 2000 found" in bench(*other, "--benchmarks=readrandom").stdout, "and found again")
    bench(*other, "--benchmarks=fillseq", code=3)
    ok("2000 of 2000 found" in bench(*other, "--benchmarks=readrandom").stdout, "but not emptied")
    bench(*other, "--benchmarks=readrandom", "--seed=7", code=1)
    bench(*other, "--benchmarks=readseq", "--seed=7", code=1)
    bench(*other, "--benchmarks=readmany", "--seed=7", code=1)
    bench(*other, "--benchmarks=readrandom", "--value_size=99", code=1)
    bench(*other, "--benchmarks=readrandom", "--key_size=15", code=3)
    bench("-o", "max_file_size=64k", "-o", "sync_mode=interval", "--num=2000", "--benchmarks=fillseq,open,readseq")


def check_churn():
    names = "--benchmarks=churn,compact,readrandom"
    for threads in ["1", "3"]:
        arguments = ["--num=3000", "--value_size=1000", "-o", "no_merge=true", f"--threads={threads}", names]
        found = benchmarks(bench(*arguments, "--json").stdout)
        ok(found["churn"]["operations"] == 19800, "churn: 6.6 operations a key", found["churn"])
        ok(1000 < found["readrandom"]["found"] < 2500, "which deletes some, and others stay", found["readrandom"])
        compact = found["compact"]
        live = found["readrandom"]["found"] * 1040
        ok(compact["disk_bytes_before"] > 15000 * 0.9 * 1040, "compact: the size before has all that was written", compact)
        ok(compact["disk_bytes_after"] < 1.3 * live, "and after it what lives", compact)
        ok(0 < compact["du_bytes_after"] < compact["du_bytes_before"], "du sees it, too", compact)
    text = bench(*arguments).stdout
    ok(bool(re.search(r"^ +size: \d+\.\d MB before, \d+\.\d MB after \(\d+\.\d %\)", text, re.MULTILINE)), "in a line", text)


def check_watch():
    arguments = ["--num=3000", "--value_size=1000", "--reads=60000", "--benchmarks=ycsba", "--histogram", "--threads=2"]
    one = benchmarks(bench(*arguments, "--merge_at=20", "--json").stdout)["ycsba"]
    space, write, samples = one["space_amplification"], one["write_amplification"], one["samples"]
    ok(1 <= space["mean"] <= space["worst"] and 1 <= space["end"] <= space["worst"], "space amplification", space)
    ok(one["du_amplification"]["worst"] > 1, "as du has it, too", one["du_amplification"])
    ok(one["merges"] >= 1 and "forced_merge_ms" in one, "the forced merge", one["merges"])
    ok(1 < write["end"] <= write["worst"], "write amplification", write)
    kinds = [one[kind] for kind in ["get", "get_merging", "put", "put_merging"] if kind in one]
    ok(sum(kind["operations"] for kind in kinds) == 60000, "each operation in one histogram", kinds)
    ok(24000 < one["get"]["operations"] + one.get("get_merging", {"operations": 0})["operations"] < 36000, "half are gets", kinds)
    ok(all(kind["p50_us"] <= kind["p99_us"] <= kind["max_us"] for kind in kinds), "with percentiles", kinds)
    ok(samples[0]["seconds"] < 0.01 and len(samples) > 1, "samples", samples)
    ok(all(a["seconds"] < b["seconds"] for a, b in zip(samples, samples[1:])), "in order", samples)
    text = bench(*arguments, "--merge_at=20").stdout
    for line in ["micros of get: p50", "micros of put: p50", "space amplification: worst", "space over", "write amplification: "]:
        ok(f"   {line}" in text, f"a line with {line}", text)
    ok(bool(re.search(r"write amplification: \d\.\d+, worst \d\.\d+; puts \d+\.\d MB, merges \d+\.\d MB of ", text)), "figures", text)
    ok("forced merge:" in text and "forced merge:" not in bench(*arguments, "--watch").stdout, "forced only if asked for")
    ok("space amplification" not in bench(*arguments).stdout, "watched only if asked for")


def check_rate():
    for threads in ["1", "2"]:
        arguments = ["--num=2000", "--benchmarks=fillseq", f"--threads={threads}", "--json"]
        paced = benchmarks(bench(*arguments, "--rate=10000").stdout)["fillseq"]
        ok(5000 < paced["ops_per_s"] <= 10500, f"no more operations a second than asked for, {threads} threads", paced)
        free = benchmarks(bench(*arguments, "--rate=1000000000").stdout)["fillseq"]
        ok(free["ops_per_s"] > 10500, "a rate that is never reached holds nobody up", free)


def check_usage():
    for arguments in [
        ["--benchmarks=fillseq,nothing"],
        ["--benchmarks=ycsbe"],
        ["--benchmarks="],
        ["--num=0"],
        ["--merge_at=100"],
        ["--rate=0"],
        ["--num=12x"],
        ["--key_size=3", "--num=1000"],
        ["-o", "nothing=1"],
        ["-o", "read_only=true"],
        ["--unknown"],
        ["argument"],
    ]:
        ok(bench(*arguments, code=2).stderr.startswith("bitcask-bench"), "with a message")
    text = bench("--help").stdout
    ok(all(name in text for name in ALL + ["churn", "compact"] if not name.startswith("ycsb")) and "Examples:" in text, "the help names all")
    ok(bench("--version").stdout.startswith("bitcask-bench "), "the version")


with tempfile.TemporaryDirectory() as directory:
    os.environ["TMPDIR"] = os.path.join(directory, "tmp")
    os.mkdir(os.environ["TMPDIR"])
    check_lines()
    check_json()
    check_counts()
    check_store(directory)
    check_churn()
    check_watch()
    check_rate()
    check_usage()
    ok(not os.listdir(os.environ["TMPDIR"]), "temporary stores are gone", os.listdir(os.environ["TMPDIR"]))
finish()
