# Prints all that a process in a cell can see of other processes: their lines, environments, open files, sockets, shared
# memory, and names in every directory that is not granted. Arguments: ports to be tried, and `kill` for the last act.
import os
import socket
import sys


def show(path):
    try:
        with open(path, "rb") as file:
            print(path, file.read().replace(b"\0", b" ").decode(errors="replace"))
    except OSError as error:
        print(path, error.strerror)


def show_process(place):
    for name in ["cmdline", "environ", "maps"]:
        show(f"{place}/{name}")
    for link in ["exe", "cwd", "root"]:
        try:
            print(place, link, os.readlink(f"{place}/{link}"))
        except OSError as error:
            print(place, link, error.strerror)
    try:
        for number in os.listdir(f"{place}/fd"):
            print(place, number, os.readlink(f"{place}/fd/{number}"))
    except OSError as error:
        print(place, error.strerror)


for name in os.listdir("/proc"):
    if name.isdigit() and int(name) != os.getpid():
        show_process(f"/proc/{name}")
for name in ["net/unix", "net/tcp", "net/tcp6", "net/udp", "sysvipc/shm", "sysvipc/msg", "sysvipc/sem", "keys"]:
    show(f"/proc/{name}")
for top in ["/tmp", "/var/tmp", "/run", "/dev/shm", "/dev/mqueue", "/dev/pts", "/home"]:
    for where, directories, files in os.walk(top):
        for name in directories + files:
            print(where, name)
for port in filter(str.isdigit, sys.argv[1:]):
    try:
        socket.create_connection(("127.0.0.1", int(port)), 10).close()
        print(port, "answers")
    except OSError as error:
        print(port, error.strerror)
if "kill" in sys.argv[1:]:
    sys.stdout.flush()
    try:
        os.kill(-1, 9)
    except OSError as error:
        print("nobody to kill:", error.strerror)
