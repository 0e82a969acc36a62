#!/usr/bin/env python3
"""Measures commands, and prints what was measured.

  measure.py run RESULTS TOOL ACTION [--stored DIR | --grown DIR...] -- COMMAND...
      runs the command and adds a line to the file RESULTS: wall time, CPU time of it and its children,
      peak memory of all of them together, and the size of what is then in DIR, or by how much it grew
  measure.py add RESULTS TOOL ACTION METRIC VALUE
      adds what was measured otherwise
  measure.py least RESULTS METRIC ACTION TOOL...
      names the tool whose median is the least
  measure.py report RESULTS
      the medians, and the ratios of the first tool to the second
  measure.py aim RESULTS TEXT MOST METRIC TOOL ACTION [TOOL ACTION]
      says whether a median, or the ratio of two, is at most so much"""

import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time

UNITS = {"wall": "s", "cpu": "s", "memory": "MiB", "stored": "MiB", "requests": "all", "per GB": "requests"}


def proportional_memory(session):
    """MiB of memory of all processes of a session; shared pages are divided among their users."""
    total = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getsid(int(pid)) != session:
                continue
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        except OSError:
            continue  # it has ended
    return total / 1024


def watch_memory(session, ended, peak):
    while not ended.wait(0.05):
        peak[0] = max(peak[0], proportional_memory(session))


def stored_size(directory):
    size = 0
    for folder, _, files in os.walk(directory):
        size += sum(os.lstat(os.path.join(folder, name)).st_size for name in files)
    return size / 2**20


def run(results, tool, action, stored, grown, command):
    size_before = sum(map(stored_size, grown))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    ended, peak = threading.Event(), [0.0]
    watcher = threading.Thread(target=watch_memory, args=(process.pid, ended, peak))
    watcher.start()
    status = process.wait()
    wall = time.monotonic() - start
    ended.set()
    watcher.join()
    if status:
        sys.exit(f"measure.py: exit status {status} of {' '.join(command)}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # ru_maxrss catches what ends between two samples; it starts at this program's own 15 MiB.
    result = {"tool": tool, "action": action, "wall": wall,
              "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
              "memory": max(peak[0], after.ru_maxrss / 1024)}
    if stored:
        result["stored"] = stored_size(stored)
    if grown:
        result["stored"] = sum(map(stored_size, grown)) - size_before
    with open(results, "a", encoding="ascii") as file:
        file.write(json.dumps(result) + "\n")


def read(results):
    with open(results, encoding="ascii") as file:
        return [json.loads(line) for line in file]


def values_of(lines, tool, action, metric):
    return [line[metric] for line in lines
            if (line["tool"], line["action"]) == (tool, action) and metric in line]


def aim(results, text, most, metric, *of):
    lines = read(results)
    medians = []
    for place in range(0, len(of), 2):
        values = values_of(lines, of[place], of[place + 1], metric)
        if not values:
            print(f"{text:76} not measured")
            return
        medians.append(statistics.median(values))
    got = medians[0] / medians[1] if len(medians) > 1 else medians[0]
    verdict = "met" if got <= float(most) else "MISSED"
    print(f"{text:76} {got:8.3f}  at most {most:6} {verdict}")


def least(results, metric, action, *tools):
    lines = read(results)
    print(min(tools, key=lambda tool: statistics.median(values_of(lines, tool, action, metric))))


def add(results, tool, action, metric, value):
    with open(results, "a", encoding="ascii") as file:
        file.write(json.dumps({"tool": tool, "action": action, metric: float(value)}) + "\n")


def report(results):
    lines = read(results)
    width = 16 + max([len(line["action"]) for line in lines], default=14)
    tools = list(dict.fromkeys(line["tool"] for line in lines))
    print(f"{'median of runs':{width}}" + "".join(f"{tool:>16}" for tool in tools) +
          f"{'ratio of the first two':>26}")
    for action in dict.fromkeys(line["action"] for line in lines):
        for metric, unit in UNITS.items():
            medians = {}
            for tool in tools:
                values = values_of(lines, tool, action, metric)
                if values:
                    medians[tool] = statistics.median(values)
            if not medians:
                continue
            digits = 3 if max(medians.values()) < 10 else 1
            cells = "".join(f"{medians[tool]:16.{digits}f}" if tool in medians else f"{'-':>16}"
                            for tool in tools)
            both = len(tools) > 1 and all(tool in medians for tool in tools[:2]) and medians[tools[1]] > 0
            ratio = f"{medians[tools[0]] / medians[tools[1]]:26.2f}" if both else ""
            print(f"{f'{action}: {metric}, {unit}':{width}}{cells}{ratio}")


def main():
    arguments = sys.argv[1:]
    if len(arguments) == 2 and arguments[0] == "report":
        report(arguments[1])
        return
    if len(arguments) == 6 and arguments[0] == "add":
        add(*arguments[1:])
        return
    if len(arguments) >= 5 and arguments[0] == "least":
        least(*arguments[1:])
        return
    if len(arguments) in (7, 9) and arguments[0] == "aim":
        aim(*arguments[1:])
        return
    if len(arguments) < 6 or arguments[0] != "run" or "--" not in arguments:
        sys.exit(__doc__)
    split = arguments.index("--")
    options = arguments[4:split]
    stored = options[1] if options[:1] == ["--stored"] else None
    grown = options[1:] if options[:1] == ["--grown"] else []
    run(*arguments[1:4], stored, grown, arguments[split + 1:])


if __name__ == "__main__":
    main()
