# SPDX-License-Identifier: MIT
"""Skua in gdb: jobs that wait, and workers.

    (gdb) source /usr/local/share/skua/skua-gdb.py    (where make install puts it)
    (gdb) skua jobs [FRAMES]    each job that waits, with its backtrace of up to FRAMES frames
    (gdb) skua workers          each worker, and what it runs

For a live process and for a core that the kernel has written (gdb's own gcore leaves out, with the
guards of stacks, what follows them); nothing is written to either. The library's debug information
must be there. A job that waits has its frames on a stack of its own, whose saved registers lie in
struct stack: an unwinder puts them behind the newest frame of the selected thread, for as long as
the frames are listed.
"""

import gdb
import gdb.unwinder

STATES = {0: "running", 1: "parked", 2: "notified", 3: "parked in its ring"}
LIMIT = 10000000  # of any list, should it be damaged


class FrameId:
    """What identifies a frame: any two addresses that no other frame has."""

    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


def word(value):
    """A register's value."""
    return gdb.Value(int(value) & (1 << 64) - 1).cast(gdb.lookup_type("unsigned long"))


def load(address, offset):
    pointer = gdb.lookup_type("unsigned long").pointer()
    return int(gdb.Value(int(address) + offset).cast(pointer).dereference())


def saved_by_assembly(sp, name):
    """As arch/*/switch.S lays the registers out."""
    if name == "aarch64":
        places = {"x%d" % (19 + i): 16 + 8 * i for i in range(10)}
        places.update({"x29": 0, "x30": 8, "pc": 8})
        size, stack = 176, "sp"
    else:
        places = {"r15": 8, "r14": 16, "r13": 24, "r12": 32, "rbx": 40, "rbp": 48, "rip": 56}
        size, stack = 64, "rsp"
    registers = {register: load(sp, offset) for register, offset in places.items()}
    registers[stack] = sp + size
    return registers, stack


def saved_by_ucontext(ucontext, name):
    """As the C library's swapcontext() does."""
    machine = ucontext["uc_mcontext"]
    if name == "aarch64":
        registers = {"x%d" % i: int(machine["regs"][i]) for i in range(19, 31)}
        registers.update({"sp": int(machine["sp"]), "pc": int(machine["pc"])})
        return registers, "sp"
    places = {"r12": 4, "r13": 5, "r14": 6, "r15": 7, "rbp": 10, "rbx": 11, "rsp": 15, "rip": 16}
    return {register: int(machine["gregs"][i]) for register, i in places.items()}, "rsp"


def saved_registers(context):
    """Those of a suspended context, and the name of the stack pointer."""
    name = gdb.selected_frame().architecture().name()
    fields = [field.name for field in context.type.fields()]
    if "ucontext" in fields:
        return saved_by_ucontext(context["ucontext"], name)
    return saved_by_assembly(int(context["sp"]), name)


class Unwinder(gdb.unwinder.Unwinder):
    """Continues the newest frame with those of a suspended stack."""

    def __init__(self):
        super().__init__("skua")
        self.registers = None

    def __call__(self, pending):
        if self.registers is None:
            return None
        if int(pending.read_register(self.stack)) != self.newest:
            return None
        # Below the frames that follow, as gdb wants it.
        information = pending.create_unwind_info(
            FrameId(word(self.registers[self.stack] - 64), pending.read_register("pc"))
        )
        for register, value in self.registers.items():
            information.add_saved_register(register, word(value))
        return information

    def begin(self, context):
        registers, self.stack = saved_registers(context)
        self.newest = int(gdb.newest_frame().read_register(self.stack))
        self.registers = registers
        gdb.invalidate_cached_frames()

    def end(self):
        self.registers = None
        gdb.invalidate_cached_frames()


unwinder = Unwinder()
gdb.unwinder.register_unwinder(None, unwinder, replace=True)


def function_name(pointer):
    block = gdb.block_for_pc(int(pointer))
    while block is not None and block.function is None:
        block = block.superblock
    return block.function.name if block is not None else gdb.format_address(int(pointer))


def runtimes():
    """Those that have been started and not stopped."""
    found = [
        symbol
        for symbol in gdb.lookup_static_symbols("slots")
        if symbol.symtab.filename.endswith("core/slot.c")
    ]
    if not found:
        raise gdb.GdbError("no debug information of Skua")
    for symbol in found:
        slot = symbol.value()["value_"].cast(gdb.lookup_type("struct slot").pointer())
        while slot != 0:
            if slot["used"]:
                yield slot["rt"].dereference()
            slot = slot["next"]


def stacks(rt):
    """Every stack that is or was in use."""
    for i in range(int(rt["node_count"])):
        slab = rt["nodes"][i]["stacks"]["first"]
        while slab != 0:
            stack = slab["youngest"]
            while stack != 0:
                yield stack
                stack = stack["older"]
            slab = slab["next"]


def ready_stacks(worker):
    """Woken already, and to be resumed in this order."""
    found = []
    stack = worker["ready"]
    while stack != 0 and len(found) < LIMIT:
        found.append(int(stack))
        stack = stack["next"]
    return found


def workers(rt):
    return [rt["workers"][i].dereference() for i in range(int(rt["worker_count"]))]


def name_of(rt):
    return rt["name"].string(errors="replace")


def print_frames(context, limit):
    selected = gdb.selected_frame()
    unwinder.begin(context)
    try:
        frame = gdb.newest_frame().older()
        for level in range(limit):
            if frame is None or not frame.is_valid():
                break
            place = frame.find_sal()
            name = frame.name() or "0x%x" % frame.pc()
            if place.symtab is not None:
                name += " at %s:%d" % (place.symtab.filename, place.line)
            print("    #%-2d %s" % (level, name))
            frame = frame.older()
    finally:
        unwinder.end()
        if selected.is_valid():
            selected.select()


class Skua(gdb.Command):
    """Jobs and workers of Skua."""

    def __init__(self):
        super().__init__("skua", gdb.COMMAND_STATUS, prefix=True)


class Jobs(gdb.Command):
    """Lists the jobs that wait, each with its function and a backtrace: skua jobs [FRAMES]"""

    def __init__(self):
        super().__init__("skua jobs", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        limit = int(argument) if argument else 30
        count = 0
        for rt in runtimes():
            ready = {address for worker in workers(rt) for address in ready_stacks(worker)}
            for stack in stacks(rt):
                if stack["running"] == 0 or stack["home"]["stack"] == stack:
                    continue
                count += 1
                print(
                    "%s on worker %d of %s, stack 0x%x%s"
                    % (
                        function_name(stack["running"]),
                        int(stack["home"]["index"]),
                        name_of(rt),
                        int(stack),
                        ", about to go on" if int(stack) in ready else "",
                    )
                )
                print_frames(stack["context"], limit)
        print("%d job%s waiting" % (count, "" if count == 1 else "s"))


class Workers(gdb.Command):
    """Lists the workers, their states and the functions of the jobs that they run."""

    def __init__(self):
        super().__init__("skua workers", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        for rt in runtimes():
            for worker in workers(rt):
                count = worker["count"]
                running = worker["running"]
                print(
                    "%s worker %d, node %d: %s, %s; %d run, %d waiting, %d about to go on"
                    % (
                        name_of(rt),
                        int(worker["index"]),
                        int(rt["nodes"][int(worker["node_index"])]["id"]),
                        STATES.get(int(worker["gate"]["state"]["value_"]), "?"),
                        "in " + function_name(running) if running != 0 else "no job",
                        int(count["run"]["value_"]) + int(count["cancelled"]["value_"]),
                        int(count["suspended"]["value_"]) - int(count["resumed"]["value_"]),
                        len(ready_stacks(worker)),
                    )
                )


Skua()
Jobs()
Workers()
