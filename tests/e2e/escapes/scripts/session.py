"""Goes for what was not granted from inside a captured session: by its system calls, one by one (x86-64, by ptrace).

    session.py PID JSON ROW ...      prints one line for each row: its name, and `held` or what was got

`captured.py` lies beside it. Whoever runs it has to be root.
"""
import json
import os
import struct
import sys

from captured import Captured

NR = dict(open=2, openat=257, newfstatat=262, mkdirat=258, unlinkat=263, renameat2=316, linkat=265, symlinkat=266, fchmodat=268,
          utimensat=280, chdir=80, readlink=89, statfs=137, kill=62, tgkill=234, ptrace=101, pidfd_open=434, process_vm_readv=310,
          prlimit64=302, setpriority=141, unshare=272, setns=308, clone=56, clone3=435, fork=57, execve=59, execveat=322,
          mount=165, umount2=166, pivot_root=155, chroot=161, mount_setattr=442, open_tree=428, move_mount=429, fsopen=430,
          fsmount=432, io_uring_setup=425, bpf=321, perf_event_open=298, userfaultfd=323, keyctl=250, add_key=248,
          memfd_create=319, name_to_handle_at=303, open_by_handle_at=304, fanotify_init=300, inotify_init=253, syslog=103,
          mknodat=259, setxattr=188, socket=41, socketpair=53, connect=42, bind=49, accept4=288, mmap=9, mprotect=10,
          setuid=105, setresuid=117, capset=126, prctl=157, personality=135, shmget=29, mq_open=240, seccomp=317, fcntl=72,
          ioctl=16, reboot=169, sethostname=170, sendmsg=46, fchdir=81, fchmodat2=452)
AT, NOFOLLOW, PATH, CREATE = -100 % 2**64, 0x20000, 0x200000, 0x40
ROWS = {}
EPERM, MARK = -1, b"CANARY-5d1f8a"


def row(function):
    ROWS[function.__name__] = function
    return function


class Session(Captured):
    """With arguments as they are meant: bytes are put where the session finds them."""

    def __call__(self, name, *arguments):
        place = 0
        numbers = []
        for argument in arguments:
            if isinstance(argument, bytes):
                numbers.append(self.put(argument, place))
                place += (len(argument) + 23) & ~7
            else:
                numbers.append(argument % 2**64)
        return self.call(NR[name], *numbers)


def refused(of, *calls):
    """Those calls that the list of calls did not refuse."""
    said = [(call[0], of(*call)) for call in calls]
    return [f"{name} said {n}" for name, n in said if n != EPERM]


def names(path):
    below = os.path.relpath(path, FACTS["home"])
    return [path, "/" + below, below, "../../" + below, "/view/../.." + path, "../" * 30 + path[1:], "/proc/self/root" + path,
            "/proc/1/root" + path]


def outside():
    hidden = [s for s in FACTS["secrets"] if s.startswith(FACTS["grant"] + "/")]
    found = [name for secret in FACTS["secrets"] if secret not in hidden for name in names(secret)]
    return found + ["/etc/passwd", "/etc/shadow", "/usr/bin/env", "/proc/self/maps", "/dev/null", "/tmp"]


def text(name):
    return name.encode() + b"\0"


@row
def files_outside(of):
    found = []
    for name in outside():
        found += [f"opened {name}"] if of("openat", AT, text(name), 0, 0) >= 0 else []
        found += [f"stood on {name}"] if of("openat", AT, text(name), PATH, 0) >= 0 else []
        found += [f"looked at {name}"] if of("newfstatat", AT, text(name), bytes(144), 0) >= 0 else []
    return found


@row
def writes_outside(of):
    found = []
    for name in outside() + ["/made", "/view/../made", "made"]:
        found += [f"wrote {name}"] if of("openat", AT, text(name), 1, 0) >= 0 else []
        found += [f"made {name}"] if of("openat", AT, text(name + ".made"), CREATE | 1, 0o600) >= 0 else []
        found += [f"made directory {name}"] if of("mkdirat", AT, text(name + ".dir"), 0o700) >= 0 else []
        found += [f"changed {name}"] if of("fchmodat", AT, text(name), 0o666) >= 0 else []
        found += [f"touched {name}"] if of("utimensat", AT, text(name), 0, 0) >= 0 else []
        found += [f"removed {name}"] if of("unlinkat", AT, text(name), 0) >= 0 else []
    return found


@row
def what_is_not_this_users(of):
    """Hidden, or another's in a drop box, by the session's own name for it."""
    found = []
    for secret in FACTS["secrets"]:
        if not secret.startswith(FACTS["grant"] + "/"):
            continue
        for base in [FACTS["view"], "/view" + FACTS["grant"]]:
            name = base + secret[len(FACTS["grant"]):]
            at = of("openat", AT, text(name), 0, 0)
            found += [f"opened {name}"] if at >= 0 else []
            found += [f"wrote {name}"] if of("openat", AT, text(name), 1 | 0x400, 0) >= 0 and FACTS["kind"] != "upload" else []
        listing = of("openat", AT, text(FACTS["view"]), 0x10000, 0)
        found += ["listed a drop box"] if listing >= 0 and FACTS["kind"] == "upload" else []
    return found


@row
def what_is_for_reading(of):
    name = FACTS["view"] + FACTS["read-only"][len(FACTS["grant"]):]
    beside = name + ".new"
    attempts = [("openat", AT, text(name), 1, 0), ("openat", AT, text(name), 2, 0), ("openat", AT, text(beside), CREATE | 1, 0o600),
                ("mkdirat", AT, text(beside), 0o700), ("fchmodat", AT, text(name), 0o666), ("utimensat", AT, text(name), 0, 0),
                ("renameat2", AT, text(name), AT, text(beside), 0), ("linkat", AT, text(name), AT, text(beside), 0),
                ("symlinkat", b"x\0", AT, text(beside)), ("unlinkat", AT, text(name), 0)]
    return [f"{call[0]} was done" for call in attempts if of(*call) >= 0]


@row
def ids_and_capabilities(of):
    status = dict(line.split(":\t", 1) for line in open(f"/proc/{of.pid}/status").read().splitlines() if ":\t" in line)
    found = [f"{k} {status[k]}" for k in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] if int(status[k], 16)]
    found += [] if status["NoNewPrivs"] == "1" else ["new privileges"]
    found += [f"ids {status['Uid']}"] if "0" in status["Uid"].split() else []
    return found + refused(of, ("setuid", 0), ("setresuid", 0, 0, 0), ("capset", bytes(8), bytes(24)), ("prctl", 4, 1, 0, 0, 0),
                           ("personality", 0), ("seccomp", 2, 0, 0))


@row
def other_processes(of):
    found = [f"signal to {pid}" for pid in [FACTS["pid"], FACTS["monitor"]] if of("tgkill", pid, pid, 0) >= 0]
    return found + refused(of, ("kill", FACTS["pid"], 0), ("ptrace", 16, FACTS["pid"], 0, 0), ("pidfd_open", FACTS["pid"], 0),
                           ("process_vm_readv", FACTS["pid"], bytes(16), 1, bytes(16), 1, 0), ("fork",),
                           ("prlimit64", FACTS["pid"], 7, 0, bytes(16)), ("setpriority", 0, FACTS["pid"], 19),
                           ("execve", b"/usr/bin/env\0", 0, 0), ("execveat", 3, b"\0", 0, 0, 0x1000), ("clone", 17, 0, 0, 0, 0))


@row
def namespaces_and_mounts(of):
    return refused(of, ("unshare", 0x10000000), ("unshare", 0x20000), ("setns", 3, 0), ("clone", 0x10000011, 0, 0, 0, 0),
                   ("clone3", bytes(88), 88), ("mount", b"none\0", b"/view\0", b"tmpfs\0", 0, 0), ("umount2", b"/view\0", 2),
                   ("pivot_root", b".\0", b".\0"), ("chroot", b"/view\0"), ("mount_setattr", AT, b"/view\0", 0, bytes(32), 32),
                   ("open_tree", AT, b"/view\0", 1), ("move_mount", AT, b"/view\0", AT, b"/\0", 0), ("fsopen", b"tmpfs\0", 0),
                   ("fsmount", 3, 0, 0))


@row
def insides_of_the_kernel(of):
    code = of("mmap", 0, 4096, 7, 0x22, -1, 0)
    found = ["memory that can be executed"] if code >= 0 else []
    return found + refused(of, ("mprotect", of.scratch & ~4095, 4096, 7), ("io_uring_setup", 8, bytes(120)), ("bpf", 0, bytes(120), 120),
                           ("perf_event_open", bytes(128), 0, -1, -1, 0), ("userfaultfd", 1), ("keyctl", 0, -4, 0),
                           ("add_key", b"user\0", b"x\0", b"x", 1, -3), ("memfd_create", b"x\0", 0),
                           ("name_to_handle_at", AT, b"/view\0", bytes(136), bytes(8), 0), ("open_by_handle_at", 3, bytes(136), 0),
                           ("fanotify_init", 0, 0), ("inotify_init",), ("syslog", 3, bytes(64), 64), ("reboot", 0, 0, 0, 0),
                           ("mknodat", AT, b"/view/dev\0", 0o20666, 0x105), ("setxattr", b"/view\0", b"user.x\0", b"x", 1, 0),
                           ("fcntl", 3, 1024, 1), ("ioctl", 0, 0x5412, bytes(8)), ("sethostname", b"x", 1), ("chdir", b"/view\0"))


@row
def sockets_and_shared_memory(of):
    calls = [("socket", family, kind, 0) for family in (1, 2, 10, 16, 17, 38) for kind in (1, 2, 3)]
    calls += [("socketpair", 1, 1, 0, bytes(8)), ("connect", 3, bytes(16), 16), ("bind", 3, bytes(16), 16), ("accept4", 3, 0, 0, 0),
              ("shmget", FACTS["shm"], 16, 0), ("mq_open", b"x\0", 0, 0, 0), ("sendmsg", 3, bytes(56), 0x4040)]
    return refused(of, *calls)


@row
def descriptors(of):
    links = [os.readlink(f"/proc/{of.pid}/fd/{n}") for n in os.listdir(f"/proc/{of.pid}/fd")]
    allowed = ("socket:", "anon_inode:", "pipe:", "/dev/null")
    inside = (FACTS["grant"], "/view")
    # A view of its own directories has a root in memory.
    return [f"descriptor of {t}" for t in links if not t.startswith(allowed) and not t.startswith(inside) and t != "/"]


FACTS = json.loads(sys.argv[2])
session = Session(int(sys.argv[1]))
try:
    for name in sys.argv[3:]:
        try:
            found = ROWS[name](session)
        except Exception as error:  # A row that fails has shown nothing.
            found = [f"the row failed: {error!r}"]
        print(name, "; ".join(found)[:400] if found else "held", flush=True)
finally:
    session.release()
