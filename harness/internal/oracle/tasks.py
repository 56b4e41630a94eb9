"""Reads the tasks of a Linux kernel's memory dump with drgn and prints them as JSON.

The arguments are the dump and the files with debug information. Inlined functions
have no frame of their own on a stack and are left out.
"""

import json
import sys
import time

import drgn
from drgn.helpers.linux.cpumask import for_each_online_cpu
from drgn.helpers.linux.pid import for_each_task
from drgn.helpers.linux.sched import idle_task, task_state_to_char


def frames(prog, task):
    for frame in prog.stack_trace(task):
        if frame.is_inline:
            continue
        try:
            found = {"pc": frame.pc}
        except LookupError:  # the end, where nothing is known any more
            return
        try:
            symbol = frame.symbol()
            found["func"], found["offset"] = symbol.name, frame.pc - symbol.address
        except LookupError:
            pass
        yield found


def read(prog, task, cpu=-1):
    found = {
        "pid": task.pid.value_(),
        "tgid": task.tgid.value_(),
        "ppid": task.real_parent.pid.value_(),
        "comm": task.comm.string_().decode(errors="replace"),
        "state": task_state_to_char(task),
        "on_cpu": bool(task.on_cpu.value_()),
        "cpu": cpu,
        "frames": [],
    }
    try:
        found["frames"] = list(frames(prog, task))
    except (ValueError, LookupError, drgn.FaultError) as e:
        found["error"] = str(e)
    return found


def main(core, *debug):
    prog, said = drgn.Program(), []
    start = time.perf_counter()
    prog.set_core_dump(core)
    try:
        prog.load_debug_info(debug)
    except drgn.MissingDebugInfoError as e:
        said.append(str(e))
    loaded = time.perf_counter()
    tasks = [read(prog, idle_task(prog, cpu), cpu) for cpu in for_each_online_cpu(prog)]
    tasks += [read(prog, task) for task in for_each_task(prog)]
    done = time.perf_counter()
    json.dump({"load_seconds": loaded - start, "tasks_seconds": done - loaded, "said": said, "tasks": tasks}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
