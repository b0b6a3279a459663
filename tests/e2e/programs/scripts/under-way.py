"""Sends as many descriptors to itself as the kernel takes, receives none, and stays."""
import array
import os
import socket
import time

held = []
sent = os.open("/dev/null", os.O_RDONLY)
beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sent] * 250))]
full = False
while not full and len(held) < 1000:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    held += [one, other]
    one.setblocking(False)
    for _ in range(8):
        try:
            one.sendmsg([b"x"], beside)
        except BlockingIOError:
            break
        except OSError:
            full = True
            break
print("here", flush=True)
time.sleep(1000)
