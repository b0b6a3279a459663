# Stands for the server that an editor puts into a home: listens on a port of localhost that the kernel chooses and on a
# socket in /tmp, answers lines, and makes terminals.
import os
import pty
import socket
import threading

token = os.environ["EDITOR_TOKEN"]


def on_terminal(command):
    child, own = pty.fork()
    if child == 0:
        os.execvp("bash", ["bash", "-c", command])
    said = b""
    try:
        while part := os.read(own, 4096):
            said += part
    except OSError:
        pass
    os.waitpid(child, 0)
    os.close(own)
    return said.decode().strip()


def answer(connection):
    lines = connection.makefile("rw")
    for line in lines:
        asked, _, rest = line.rstrip("\n").partition(" ")
        if asked == "who":
            lines.write(f"{os.getpid()} {token}\n")
        elif asked == "terminal":
            lines.write(on_terminal(rest) + "\n")
        elif asked == "length":
            lines.write(f"{len(rest)}\n")
        elif asked == "much":
            lines.write("x" * int(rest) + "\n")
        lines.flush()
    connection.close()


def serve(listener):
    while True:
        threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


local = socket.socket(socket.AF_UNIX)
local.bind(f"/tmp/vscode-ipc-{token}.sock")
local.listen()
threading.Thread(target=serve, args=(local,), daemon=True).start()
listener = socket.create_server(("127.0.0.1", 0))
print("listening on", listener.getsockname()[1], flush=True)
serve(listener)
