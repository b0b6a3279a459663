"""Goes for what was not granted, as a program in a shell cell would.

    attacks.py canary DIRECTORY          makes things to be found, says in JSON what they are, and stays
    attacks.py attack JSON [ROW ...]     prints one line for each row: its name, and `held` or what was got

The rows are those of the list of escapes. Outside of a cell most of them succeed, which is how one sees that they can.
"""
import ctypes
import errno
import fcntl
import json
import mmap
import os
import pty
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
# x86-64; those from 424 on have the same number everywhere.
NR = dict(chmod=90, fchmod=91, mkdir=83, mknod=133, fchmodat=268, mknodat=259, fchmodat2=452, openat2=437, open=2, creat=85,
          openat=257, clone=56, clone3=435, unshare=272, setns=308, mount=165, umount2=166, pivot_root=155, chroot=161,
          mount_setattr=442, open_tree=428, move_mount=429, fsopen=430, fsconfig=431, fsmount=432, fspick=433,
          statmount=457, listmount=458, open_tree_attr=467, listns=470, io_uring_setup=425, io_uring_enter=426,
          io_uring_register=427, bpf=321, perf_event_open=298, userfaultfd=323, syslog=103, fanotify_init=300,
          init_module=175, finit_module=313, delete_module=176, kexec_load=246, kexec_file_load=320, quotactl=179,
          quotactl_fd=443, acct=163, swapon=167, reboot=169, settimeofday=164, clock_settime=227, adjtimex=159,
          sethostname=170, setdomainname=171, vhangup=153, iopl=172, ioperm=173, modify_ldt=154, keyctl=250, add_key=248,
          request_key=249, name_to_handle_at=303, open_by_handle_at=304, kcmp=312, pidfd_open=434, pidfd_getfd=438,
          process_vm_readv=310, ptrace=101, socket=41, socketpair=53, file_setattr=469, shmget=29, lookup_dcookie=212,
          inotify_init=253, renameat2=316, inotify_add_watch=254, setxattrat=463, memfd_create=319)
MARK = "CANARY-5d1f8a"
ROWS = {}


def row(function):
    ROWS[function.__name__] = function
    return function


def call(name, *arguments):
    """A system call; what it says, an error as a negative number."""
    arguments = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    got = LIBC.syscall(ctypes.c_long(NR.get(name, name)), *arguments)
    return -ctypes.get_errno() if got == -1 else got


def got(what, function, *arguments, **named):
    """What was got, in words, or nothing if the attempt failed."""
    try:
        return [f"{what}: {function(*arguments, **named)!r:.80}"]
    except OSError:
        return []


def passed(*calls):
    """Those system calls that said anything but EPERM or ENOSYS: the list of calls did not refuse them."""
    said = [(c[0], call(*c)) for c in calls]
    return [f"{name} said {n}" for name, n in said if n not in (-errno.EPERM, -errno.ENOSYS)]


def read(path):
    with open(path, "rb") as file:
        return file.read(200)


def in_child(function):
    """How a child ends that does something: its wait status."""
    child = os.fork()
    if child == 0:
        try:
            function()
        except OSError:
            os._exit(1)
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1]


def fresh_file(name):
    open(fresh(name), "w").close()
    return name


def fresh(name):
    try:
        os.unlink(name)
    except OSError:
        pass
    return name


# -- files ------------------------------------------------------------------------------------------------------------

def names(path):
    home = FACTS["home"]
    below = os.path.relpath(path, home)
    return [path, "../" * 3 + below, "../" * 40 + path, "//" + path, "/./" + path, f"./../../{below}",
            f"/proc/self/root{path}", f"/proc/1/root{path}", f"/proc/thread-self/root{path}", f"/proc/self/cwd/../../{below}",
            f"/proc/{FACTS['pid']}/root{path}", f"/proc/{FACTS['pid']}/cwd/{below}"]


def outside():
    return [name for secret in FACTS["secrets"] for name in names(secret)]


@row
def x01_x02_x19_x20_paths_outside():
    return [g for name in outside() for g in got(name, read, name)]


@row
def x03_x04_links():
    found = []
    for n, name in enumerate(outside()):
        link = fresh(f"link-{n}")
        os.symlink(name, link)
        chained = fresh(f"chained-{n}")
        os.symlink(link, chained)
        found += got(f"link to {name}", read, chained) + got(f"stat of {name}", os.stat, link)
    return found


@row
def x04_planted_links():
    grant, name = FACTS["grant"], FACTS["name"]
    names = ["absolute", "rooted", "relative", "chain", f"up/private/{name}", f"private-dir/{name}", f"sibling-dir/{name}",
             f"other-dir/private/{name}", f"host-dir/{name}", f"root-dir{FACTS['home']}/private/{name}",
             f"proc-dir{FACTS['home']}/private/{name}", f"hidden-dir/{name}"]
    return [g for n in names for at in [f"{grant}/planted-{n}"] for g in got(at, read, at) + got(f"stat of {at}", os.stat, at)]


@row
def x13_x14_exchanged():
    """Two processes of the cell: one exchanges a directory and a link out, the other goes through it."""
    found = []
    for target in [FACTS["home"] + "/private", "../../private", "/proc/1/root" + FACTS["home"] + "/private"]:
        os.makedirs("swap", exist_ok=True)
        os.symlink(target, fresh("swapped"))
        racer = os.fork()
        if racer == 0:
            while True:
                call("renameat2", -100, b"swap", -100, b"swapped", 2)
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            at = "swap/" + FACTS["name"]
            found += got(at, read, at) + got(f"stat of {at}", os.stat, at) + got(f"wrote {at}", os.open, at, os.O_WRONLY)
        os.kill(racer, 9)
        os.waitpid(racer, 0)
        for name in ["swap", "swapped"]:
            (fresh if os.path.islink(name) else os.rmdir)(name)
    return found[:5]


@row
def x17_moved_out():
    """By the attacker, who stands in it; and then it goes."""
    os.makedirs("deep/er", exist_ok=True)
    os.chdir("deep/er")
    os.rename(FACTS["work"] + "/deep/er", FACTS["work"] + "/er")
    above = ["../" * n + "private" for n in range(1, 8)]
    found = [g for at in above for g in got(at, os.listdir, at)]
    os.rmdir(FACTS["work"] + "/er")
    return found + [g for at in above for g in got(at, os.listdir, at)]


@row
def x05_x06_x09_writes():
    found = []
    for secret in FACTS["secrets"]:
        # What leads to the grant may lie in the cell's own `/tmp`.
        for directory in {os.path.dirname(name) for name in names(secret) if not name.endswith("/www/" + FACTS["name"])}:
            link = fresh("into")
            os.symlink(directory, link)
            mine = fresh("mine")
            open(mine, "w").close()
            target = link + "/" + os.path.basename(secret)
            found += got(f"made in {directory}", os.mkdir, link + "/made")
            found += got(f"written in {directory}", os.open, link + "/new", os.O_CREAT | os.O_WRONLY)
            found += got(f"appended to {target}", os.open, target, os.O_APPEND | os.O_WRONLY)
            found += got(f"cut {target}", os.truncate, target, 3)
            found += got(f"linked {target}", os.link, target, fresh("linked"))
            found += got(f"moved {target}", os.rename, target, fresh("taken"))
            found += got(f"put over {target}", os.rename, mine, target)
            found += got(f"removed from {directory}", os.unlink, target)
    return found


@row
def x08_x22_x39_attributes():
    found = []
    notices = call("inotify_init")
    for name in outside():
        found += got(f"stat {name}", os.stat, name) + got(f"chmod {name}", os.chmod, name, 0o666)
        found += got(f"times of {name}", os.utime, name) + got(f"mark on {name}", os.setxattr, name, "user.mine", b"x")
        found += got(f"statvfs {name}", os.statvfs, name)
        # What leads to the grant is there, and so is the cover of what is hidden, in which there is nothing.
        if os.path.basename(os.path.dirname(name)) not in ("www", "hidden"):
            found += got(f"cd to {name}", os.chdir, os.path.dirname(name) + "/")
        os.chdir(FACTS["work"])
        if call("inotify_add_watch", notices, name.encode(), 0xfff) > 0:
            found.append(f"notices of {name}")
    os.close(notices)
    return found


@row
def x21_names_beside():
    found = []
    for place in [FACTS["home"], "..", "../..", FACTS["home"] + "/private", "/home", os.path.dirname(FACTS["home"])]:
        try:
            seen = set(os.listdir(place)) & {"private", "site2", "notes", "other", "sib", ".enclos"}
        except OSError:
            continue
        found += [f"{place} has {seen}"] if seen else []
    return found


@row
def x23_what_is_there():
    def how(path):
        try:
            return str(os.stat(path).st_size)
        except OSError as error:
            return error.errno
    return [f"{name} is told apart" for name in outside() if how(name) != how(os.path.dirname(name) + "/absent")]


@row
def x10_x11_links_of_the_hosts():
    found = got("linked /etc/passwd", os.link, "/etc/passwd", fresh("passwd"))
    with open("/etc/passwd") as file:
        link = f"/proc/self/fd/{file.fileno()}"
        found += got("linked by descriptor", os.link, link, fresh("passwd"), follow_symlinks=True)
    return found


@row
def x18_the_grant_itself():
    grant = FACTS["grant"]
    found = got("renamed", os.rename, grant, grant + "-2")
    if found:
        os.rename(grant + "-2", grant)
    return found + got("removed", os.rmdir, grant)


@row
def x33_x34_set_ids():
    found = []
    for bits in [0o4755, 0o2755, 0o6755, 0o4000]:
        name = fresh("set-id").encode()
        at = os.open(name, os.O_CREAT | os.O_RDWR)
        call("chmod", name, bits), call("fchmod", at, bits), call("fchmodat", -100, name, bits)
        call("fchmodat2", -100, name, bits, 0), call("fchmodat2", at, b"", bits, 0x1000)
        found += [f"mode {stat.S_IMODE(os.stat(at).st_mode):o}"] if os.stat(at).st_mode & 0o6000 else []
        for n, make in enumerate([
            lambda new: call("open", new, os.O_CREAT | os.O_RDWR, bits),
            lambda new: call("openat", -100, new, os.O_CREAT | os.O_RDWR, bits),
            lambda new: call("creat", new, bits),
            lambda new: call("mkdir", new, bits),
            lambda new: call("mknod", new, stat.S_IFREG | bits, 0),
            lambda new: call("mknodat", -100, new, stat.S_IFREG | bits, 0),
            lambda new: call("openat2", -100, new, struct.pack("QQQ", os.O_CREAT | os.O_RDWR, bits, 0), 24),
        ]):
            new = f"set-id-{n}"
            os.path.isdir(new) and os.rmdir(new)
            make(fresh(new).encode())
            found += [f"{n} made {bits:o}"] if os.path.lexists(new) and os.lstat(new).st_mode & 0o6000 else []
        found += [f"unnamed {bits:o}"] if call("openat", -100, b".", 0o20200000 | os.O_RDWR, bits) >= 0 else []
        os.close(at)
    return found


@row
def x35_x36_owners_and_capabilities():
    open("owned", "w").close()
    found = [g for ids in [(0, 0), (65534, -1), (-1, 0), (FACTS["other"], -1)] for g in got(f"owner {ids}", os.chown, "owned", *ids)]
    capability = struct.pack("<IIIII", 0x02000001, 0xffffffff, 0, 0, 0)
    for name, value in [("security.capability", capability), ("trusted.x", b"x"), ("security.x", b"x")]:
        found += got(name, os.setxattr, "owned", name, value)
    return found


@row
def x37_set_id_programs():
    status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
    wrong = [f"{k} {status[k]}" for k in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] if int(status[k], 16)]
    wrong += [] if status["NoNewPrivs"] == "1" else ["new privileges"]
    mounts = [line.split() for line in open("/proc/self/mountinfo")]
    return wrong + [f"{m[4]} has set-ids" for m in mounts if "nosuid" not in m[5].split(",") and m[4] != "/proc"]


@row
def x38_devices():
    found = got("a device", os.mknod, fresh("dev"), stat.S_IFCHR | 0o666, os.makedev(1, 1))
    found += got("a block device", os.mknod, fresh("/tmp/dev"), stat.S_IFBLK | 0o666, os.makedev(254, 0))
    call("renameat2", -100, fresh_file("was").encode(), -100, fresh("is").encode(), 4)
    found += ["a device in place of what was renamed"] * (os.path.lexists("was") and stat.S_ISCHR(os.lstat("was").st_mode))
    for name in [FACTS["grant"] + "/planted-device", "/dev/vda", "/dev/sda", "/dev/mem", "/dev/kmsg", "/dev/fuse", "/dev/net/tun", "/dev/tty0", "/dev/userfaultfd"]:
        found += got(name, os.open, name, os.O_RDONLY)
    return found + [f"{n} in /proc" for n in ["kcore", "kmsg", "sysrq-trigger"] if got("", read, f"/proc/{n}") not in ([], [": b''"])]


@row
def x72_read_only_grants():
    file = FACTS["read-only"]
    ro = os.path.dirname(file)
    attempts = [("written", os.open, file, os.O_WRONLY), ("made", os.mkdir, ro + "/x"),
                ("chmod", os.chmod, file, 0o600), ("chmod of it", os.chmod, ro, 0o700),
                ("times", os.utime, file), ("marked", os.setxattr, file, "user.x", b"x"),
                ("cut", os.truncate, file, 0), ("linked", os.link, file, "linked-ro"),
                ("put over", lambda: os.rename(fresh_file("mine"), file)),
                ("moved", os.rename, ro, ro + "2"), ("socket", lambda: socket.socket(socket.AF_UNIX).bind(ro + "/s")),
                ("by descriptor", lambda: os.open(f"/proc/self/fd/{os.open(file, os.O_RDONLY)}", os.O_RDWR)),
                ("removed", os.unlink, file)]
    return [g for attempt in attempts for g in got(*attempt)]


@row
def x76_programs_of_grants():
    """An interpreter reads what it likes; this is about what the kernel executes."""
    program = os.path.dirname(FACTS["read-only"]) + "/run.sh"
    end = in_child(lambda: os.execv(program, [program]))
    return [f"{program} was run"] if os.WIFEXITED(end) and os.WEXITSTATUS(end) == 0 else []


@row
def x76_leases_and_projects():
    file = os.open("leased", os.O_CREAT | os.O_RDWR)
    found = got("a lease", fcntl.fcntl, file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    fcntl.fcntl(file, fcntl.F_GETLEASE)
    found += got("attributes", fcntl.ioctl, file, 0x401C5820, struct.pack("IIIII8x", 0, 0, 0, 7, 0))
    return found + passed(("file_setattr", -100, b"leased", bytes(24), 24, 0))


# -- processes --------------------------------------------------------------------------------------------------------

@row
def x40_signals():
    pid = FACTS["pid"]
    return got("signal", os.kill, pid, 0) + got("group", os.killpg, pid, 0) + got(
        "priority", os.setpriority, os.PRIO_PROCESS, pid, 19) + got("first process", os.kill, FACTS["monitor"], 0)


@row
def x20_processes_in_proc():
    names = ["", "environ", "maps", "mem", "fd", "cmdline", "status"]
    return [g for pid in [FACTS["pid"], FACTS["monitor"]] for n in names for g in got(n, os.stat, f"/proc/{pid}/{n}")]


@row
def x41_memory_of_others():
    pid, found = FACTS["pid"], []
    if call("ptrace", 16, pid, 0, 0) == 0:
        os.waitpid(pid, 0x40000000)
        call("ptrace", 17, pid, 0, 0)
        found.append("traced")
    buffer = ctypes.create_string_buffer(8)
    vector = struct.pack("QQ", ctypes.addressof(buffer), 8)
    if call("process_vm_readv", pid, vector, 1, vector, 1, 0) not in (-errno.ESRCH, -errno.EPERM):
        found.append("memory")
    pidfd = call("pidfd_open", pid, 0)
    found += ["a descriptor of the process"] if pidfd >= 0 else []
    own = call("pidfd_open", os.getpid(), 0)
    return found + passed(("pidfd_getfd", own, 0, 0), ("kcmp", os.getpid(), os.getpid(), 0, 0, 0))


@row
def x42_the_first_process():
    found = [f"descriptor to {t}" for t in (os.readlink(f"/proc/1/fd/{n}") for n in os.listdir("/proc/1/fd"))
             if t != "/dev/null" and not t.startswith(("socket:", "anon_inode:", "pipe:", "/dev/pts", "/dev/ptmx"))]
    found += [f"environment {e}" for e in [read("/proc/1/environ")] if e]
    with open("/proc/1/maps") as maps, open("/proc/1/mem", "rb", 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            start, end = (int(x, 16) for x in span.split("-"))
            if rights.startswith("rw") and "[v" not in line:
                memory.seek(start)
                held = memory.read(end - start)
                found += [f"{t} in memory" for t in [b"PRIVATE KEY", b"openssh-key-v1", b"control.sqlite", MARK.encode()] if t in held]
    return found


@row
def x43_x44_sockets():
    found = []
    for address in ["\0" + FACTS["abstract"], FACTS["socket"], *names(FACTS["socket"])]:
        found += got(f"connected to {address!r:.40}", socket.socket(socket.AF_UNIX).connect, address)
    return found


@row
def x45_shared_memory():
    found = [f"segment {n}" for n in [call("shmget", FACTS["shm"], 16, 0)] if n >= 0]
    found += got("in /dev/shm", read, "/dev/shm/" + FACTS["abstract"])
    lines = open("/proc/sysvipc/shm").read().splitlines()
    return found + [f"{len(lines) - 1} segments listed"] * (len(lines) > 1)


@row
def x46_x47_keys_and_the_kernels_lists():
    found = passed(("keyctl", 0, -4, 0), ("keyctl", 11, 1, 0), ("add_key", b"user", b"x", b"x", 1, -3), ("request_key", b"user", b"x", 0, 0))
    return found + [f"{n}: {t}" for n in ["keys", "key-users", "kallsyms", "cmdline", "config.gz", "timer_list"]
                    for t in got("", read, f"/proc/{n}") if t != ": b''"]


@row
def x48_x49_namespaces():
    flags = dict(ns=0x20000, cgroup=0x2000000, uts=0x4000000, ipc=0x8000000, user=0x10000000, pid=0x20000000, net=0x40000000, time=0x80)
    found = passed(*[("unshare", flag) for flag in flags.values()], ("unshare", 0x10020000), ("clone3", bytes(88), 88),
                   *[("setns", os.open(f"/proc/self/ns/{n}", os.O_RDONLY), 0) for n in ["mnt", "user", "net", "pid", "ipc"]])
    for name, flag in flags.items():
        if name == "time":
            continue  # Its bit is part of the signal there.
        said = call("clone", flag | 17 | 1 << 32, 0, 0, 0, 0)
        if said == 0:
            os._exit(0)
        found += [f"cloned {name}"] if said > 0 else []
    return found


@row
def x50_x51_x53_mounts():
    grant = os.open(FACTS["grant"], os.O_PATH)
    clear = struct.pack("QQQQ", 0, 1, 0, 0)
    empty = b"\0"
    return passed(
        ("mount", b"none", b"/tmp", b"tmpfs", 0, 0), ("mount", b"/usr", b"/tmp", b"", 4096, 0), ("umount2", b"/proc/keys", 2),
        ("umount2", FACTS["grant"].encode() + b"/config", 2), ("pivot_root", b".", b"."), ("chroot", b"."),
        ("mount_setattr", grant, empty, 0x1000, clear, 32), ("mount_setattr", -100, FACTS["grant"].encode() + b"/config", 0, clear, 32),
        ("open_tree", grant, empty, 0x1001), ("open_tree_attr", grant, empty, 0x1001, clear, 32),
        ("move_mount", grant, empty, -100, b"/tmp", 4), ("fsopen", b"proc", 0), ("fsopen", b"tmpfs", 0), ("fsopen", b"overlay", 0),
        ("fsconfig", grant, 6, 0, 0, 0), ("fsmount", grant, 0, 0), ("fspick", -100, b"/", 0), ("statmount", bytes(24), bytes(512), 512, 0),
        ("listmount", bytes(24), bytes(512), 8, 0), ("listns", bytes(64), bytes(64), 8, 0), (471, 0, 0, 0), (480, 0, 0, 0), (600, 0, 0, 0))


@row
def x52_x54_x55_the_kernels_insides():
    return passed(
        ("name_to_handle_at", -100, b".", bytes(136), bytes(8), 0), ("open_by_handle_at", 3, bytes(136), 0),
        ("io_uring_setup", 8, bytes(120)), ("io_uring_enter", 0, 1, 0, 0, 0), ("io_uring_register", 0, 0, 0, 0),
        ("bpf", 0, bytes(120), 120), ("perf_event_open", bytes(128), 0, -1, -1, 0), ("userfaultfd", 1), ("syslog", 3, bytes(64), 64),
        ("fanotify_init", 0x200, 0), ("init_module", 0, 0, 0), ("finit_module", 0, 0, 0), ("delete_module", b"x", 0),
        ("kexec_load", 0, 0, 0, 0), ("kexec_file_load", 0, 0, 0, 0, 0), ("quotactl", 0x80000800, b"/dev/vda", 0, bytes(80)),
        ("quotactl_fd", 3, 0x80000800, 0, bytes(80)), ("acct", b"a"), ("swapon", b"a", 0), ("reboot", 0, 0, 0, 0),
        ("settimeofday", bytes(16), 0), ("clock_settime", 0, bytes(16)), ("adjtimex", bytes(208)), ("sethostname", b"x", 1),
        ("setdomainname", b"x", 1), ("vhangup",), ("iopl", 3), ("ioperm", 0x60, 1, 1), ("modify_ldt", 0, 0, 0), ("lookup_dcookie", 0, 0, 0))


@row
def x56_sockets_of_other_kinds():
    inet = [2, 10]
    calls = [("socket", family, kind, 0) for family in range(1, 46) if family not in (1, 2, 10, 16) for kind in (1, 2, 3, 5)]
    calls += [("socketpair", family, kind, 0, bytes(8)) for family in range(2, 46) for kind in (1, 2, 5)]
    calls += [("socket", 16, 3, protocol) for protocol in range(1, 25)]
    calls += [("socket", family, kind, 0) for family in inet for kind in (4, 5, 6, 10)]
    calls += [("socket", family, kind, protocol) for family in inet for kind, protocol in [(1, 132), (5, 132), (6, 33), (2, 136), (2, 115), (1, 256), (3, 255)]]
    return passed(*calls)


@row
def x57_other_entries():
    def second_number():
        LIBC.syscall(ctypes.c_long(0x40000000 | 39))

    def old_entry():
        code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # getpid of i386
        ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()

    ends = [in_child(second_number), in_child(old_entry)]
    return [f"{n} ended with {end}" for n, end in enumerate(ends) if not (os.WIFSIGNALED(end) and os.WTERMSIG(end) in (signal.SIGSYS, signal.SIGSEGV))]


@row
def x58_terminals():
    def attempts():
        return [(request, LIBC.ioctl(other, ctypes.c_ulong(request), ctypes.byref(ctypes.c_int(0))))
                for low in (0x5412, 0x541C, 0x5423) for request in (low, low | 1 << 32, low | 0xdead << 48)]

    mine, other = pty.openpty()
    child = os.fork()
    if child == 0:
        os.setsid()
        fcntl.ioctl(other, 0x540E, 0)
        os._exit(sum(answer == 0 for _, answer in attempts()))
    taken = os.WEXITSTATUS(os.waitpid(child, 0)[1])
    found = [f"{taken} requests were taken"] if taken else []
    return found + [f"terminal {n}" for n in os.listdir("/dev/pts") if n not in ("ptmx",) and os.stat(f"/dev/pts/{n}").st_uid != os.getuid()]


@row
def x59_x60_what_is_inherited():
    links = {n: os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")}
    found = [f"{n} is {t}" for n, t in links.items() if int(n) < 3 and not t.startswith(("pipe:", "socket:", "/dev/pts", "/dev/null"))]
    known = {"HOME", "USER", "LOGNAME", "SHELL", "PATH", "PWD", "SHLVL", "_", "OLDPWD", "LC_CTYPE", "LANG", "SSH_CLIENT", "SSH_CONNECTION",
             "SSH_TTY", "TERM"}
    # What Python opens is closed when another program is executed; what was inherited is not.
    listed = subprocess.run(["ls", "/proc/self/fd"], close_fds=False, stdout=subprocess.PIPE).stdout.split()
    found += [f"descriptors {listed}"] if listed != [b"0", b"1", b"2", b"3"] else []
    return found + [f"{n} in the environment" for n in set(os.environ) - known if not n.startswith("LC_")]


@row
def x61_x62_limits():
    found = [f"cores of {n}" for n in [resource.getrlimit(resource.RLIMIT_CORE)[1]] if n != 1]
    children = []
    try:
        while len(children) < 600:
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(0)
            children.append(child)
        found.append("600 processes")
    except OSError:
        pass
    for child in children:
        os.kill(child, 9)
        os.waitpid(child, 0)
    return found


@row
def x64_terminals():
    """The kernel has so many for all cells; each takes a descriptor or two."""
    opened = []
    try:
        while len(opened) < 600:
            opened.append(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        pass
    for n in opened:
        os.close(n)
    return ["600 terminals"] * (len(opened) >= 600)


@row
def x66_x67_the_hosts_directories():
    found = [f"{d} shows {s}" for d in ["/tmp", "/var/tmp", "/dev/shm", "/run"] for s in os.listdir(d) if s not in FACTS["home"].split("/")]
    for name in ["/usr/x", "/etc/x", "/x", "/bin/x", "/dev/x", "/proc/x", "/usr/bin/env", "/etc/passwd", "/etc/ld.so.preload",
                 "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/vm/overcommit_memory", "/sys/fs/cgroup/x",
                 "/proc/sys/user/max_user_namespaces", "/proc/sys/net/ipv4/ip_forward", "/proc/1/oom_score_adj/x"]:
        found += got(f"writes {name}", os.open, name, os.O_CREAT | os.O_WRONLY)
    return found


@row
def x67_the_cells_root():
    return got("made a file", os.open, "/made", os.O_CREAT | os.O_WRONLY) + got("made a directory", os.mkdir, "/made-too")


@row
def x68_secrets_of_the_host():
    found = []
    for name in ["/etc/shadow", "/etc/gshadow", "/etc/ssh", "/etc/sudoers", "/root", "/var/log", "/etc/crontab", "/var/spool", "/sys",
                 "/boot", "/srv", "/mnt", FACTS["state"], FACTS["state"] + "/keys", FACTS["state"] + "/run/admin.sock"]:
        found += got(name, os.stat, name)
    users = [line.split(":")[0] for line in open("/etc/passwd")]
    return found + [f"users {users}"] * (users != ["root", os.environ.get("USER"), "nobody"])


@row
def x69_what_lists_tell():
    roots = [line.split()[3] for line in open("/proc/self/mountinfo")]
    found = [f"mounted {r}" for r in roots if "site2" in r or "private" in r or "/other" in r or FACTS["state"] in r]
    return found + [f"cgroup {c}" for c in open("/proc/self/cgroup") if c.strip().split(":")[2] != "/"]


@row
def x74_network():
    with open("/proc/net/unix") as table:
        found = ["listed in /proc/net/unix"] * (FACTS["abstract"] in table.read())
    for address in [("127.0.0.1", FACTS["port"]), ("169.254.169.254", 80), ("10.0.0.1", 80)]:
        client = socket.socket()
        client.settimeout(1)
        found += got(f"connected to {address}", client.connect, address)
    return found


# -- both sides -------------------------------------------------------------------------------------------------------

def speak(listener):
    while True:
        client, _ = listener.accept()
        try:
            client.sendall(MARK.encode())
        except OSError:
            pass
        client.close()


def canary(directory):
    name = f"enclos-canary-{os.getpid()}"
    hidden, at = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    hidden.bind("\0" + name), at.bind(directory + "/socket")
    hidden.listen(), at.listen()
    with open("/dev/shm/" + name, "w") as shared:
        shared.write(MARK)
    key = 0x5d1f0000 | os.getpid() & 0xffff
    segment = call("shmget", key, 16, 0o1666)
    server = socket.create_server(("127.0.0.1", 0))
    for listener in (server, at):
        threading.Thread(target=speak, args=(listener,), daemon=True).start()
    print(json.dumps({"pid": os.getpid(), "abstract": name, "socket": directory + "/socket", "shm": key, "port": server.getsockname()[1]}), flush=True)
    try:
        sys.stdin.read()
    finally:
        os.unlink("/dev/shm/" + name)
        LIBC.shmctl(segment, 0, None)


def attack(chosen):
    os.chdir(FACTS["work"])
    for name, function in ROWS.items():
        if chosen and name not in chosen:
            continue
        try:
            found = function()
        except Exception as error:  # A row that fails has shown nothing.
            found = [f"the row failed: {error!r}"]
        os.chdir(FACTS["work"])
        print(name, "; ".join(found)[:400] if found else "held", flush=True)


if sys.argv[1] == "canary":
    canary(sys.argv[2])
else:
    FACTS = json.loads(sys.argv[2])
    attack(sys.argv[3:])
