"""Captures a process: has it make the attacker's system calls (x86-64, by ptrace).

    captured.py message PID        what the process can send on descriptor 3, its channel to the monitor
    captured.py forge PID KIND     has a worker say for a while that programs run whose streams are of that kind
    captured.py hold PID           has it do nothing any more

Prints one line for each call: a name, and what the kernel answered (negative: an errno).
"""
import ctypes
import os
import struct
import sys
import time

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
LIBC.ptrace.restype = ctypes.c_long
ATTACH, DETACH, SINGLESTEP, GETREGS, SETREGS, POKEDATA = 16, 17, 9, 12, 13, 5
OPEN, GETPID, SENDTO, SENDMSG, EVENTFD2, EPOLL_CREATE1 = 2, 39, 44, 46, 290, 291
RAX, RDX, RSI, RDI, ORIG_RAX, RIP, RSP = 10, 12, 13, 14, 15, 16, 19
ARGUMENTS = [RDI, RSI, RDX, 7, 9, 8]  # r10, r8, r9


class Captured:
    """A process that does as it is told, from its capture to its release."""

    def __init__(self, pid):
        self.pid = pid
        self.ask(ATTACH)
        os.waitpid(pid, 0x40000000)
        self.saved = self.registers()
        self.scratch = (self.saved[RSP] - 8192) & ~15

    def ask(self, request, data=None):
        if LIBC.ptrace(request, self.pid, None, data) < 0:
            raise OSError(ctypes.get_errno(), f"ptrace {request}: {os.strerror(ctypes.get_errno())}")

    def registers(self):
        values = (ctypes.c_ulong * 27)()
        self.ask(GETREGS, ctypes.byref(values))
        return list(values)

    def set(self, values):
        self.ask(SETREGS, ctypes.byref((ctypes.c_ulong * 27)(*values)))

    def put(self, data, offset=0):
        # Word by word: in a cell nothing of /proc can be written.
        data += b"\0" * (-len(data) % 8)
        for at in range(0, len(data), 8):
            word = int.from_bytes(data[at : at + 8], "little")
            if LIBC.ptrace(POKEDATA, self.pid, self.scratch + offset + at, word) < 0:
                raise OSError(ctypes.get_errno(), "ptrace POKEDATA")
        return self.scratch + offset

    def call(self, number, *arguments):
        values = list(self.saved)
        # It was stopped in a system call, so the instruction for one lies just before.
        values[RIP], values[RAX], values[ORIG_RAX], values[RSP] = self.saved[RIP] - 2, number, 2**64 - 1, self.scratch - 4096
        for place, argument in zip(ARGUMENTS, arguments):
            values[place] = argument % 2**64
        self.set(values)
        self.ask(SINGLESTEP)
        os.waitpid(self.pid, 0x40000000)
        answer = self.registers()[RAX]
        return answer - 2**64 if answer >= 2**63 else answer

    def release(self):
        self.set(self.saved)
        self.ask(DETACH)

    def send(self, channel, text, descriptors):
        """`sendmsg` with descriptors beside the text."""
        text_at = self.put(text, 1024)
        part = self.put(struct.pack("QQ", text_at, len(text)), 512)
        length = 16 + 4 * len(descriptors)
        beside = self.put(struct.pack("QII", length, 1, 1) + struct.pack(f"{len(descriptors)}i", *descriptors), 2048)
        space = (length + 7) & ~7 if descriptors else 0
        header = self.put(struct.pack("QIIQQQQiI", 0, 0, 0, part, 1, beside, space, 0, 0))
        return self.call(SENDMSG, channel, header, 0x4040)  # MSG_NOSIGNAL | MSG_DONTWAIT


def message(pid):
    captured = Captured(pid)
    try:
        print("obeys", captured.call(GETPID))
        eventfd = captured.call(EVENTFD2, 0, 0)
        print("eventfd", eventfd)
        print("descriptor", captured.send(3, b"\xff", [eventfd]))
        if pid == 1:
            # A session would be ended for it, in the middle of the call.
            print("plain", captured.call(SENDTO, 3, captured.put(b"\xff"), 1, 0x4040, 0, 0))
    finally:
        captured.release()


KINDS = {
    "directory": lambda of: [of.call(OPEN, of.put(b"/tmp\0"), 0, 0)] * 3,
    "file": lambda of: [of.call(OPEN, of.put(b"/etc/passwd\0"), 0, 0)] * 3,
    "place": lambda of: [of.call(OPEN, of.put(b"/tmp\0"), os.O_PATH, 0)] * 3,
    "epoll": lambda of: [of.call(EPOLL_CREATE1, 0)] * 3,
    "one": lambda of: [of.call(EVENTFD2, 0, 0)],
    "none": lambda of: [],
    "many": lambda of: [of.call(EVENTFD2, 0, 0)] * 8,
    "garbage": lambda of: [],
}


def forge(pid, kind):
    captured = Captured(pid)
    try:
        descriptors = KINDS[kind](captured)
        sessions = [int(n) for n in os.listdir(f"/proc/{pid}/fd") if int(n) > 3 and os.readlink(f"/proc/{pid}/fd/{n}").startswith("socket:")]
        print("captured", len(sessions), flush=True)
        for _ in range(60):
            for session in sessions:
                # `FromWorker::Started` for the programs after this one; or what is no message.
                for number in range(1, 4):
                    captured.send(session, b"\xff" * 40 if kind == "garbage" else bytes([0, number]), descriptors)
            time.sleep(0.005)
    finally:
        captured.release()


def hold(pid, *_):
    captured = Captured(pid)
    print("captured", captured.call(GETPID), flush=True)
    time.sleep(1000)


if __name__ == "__main__":
    {"message": message, "forge": forge, "hold": hold}[sys.argv[1]](int(sys.argv[2]), *sys.argv[3:])
