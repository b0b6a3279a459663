"""What no honest client says while it logs in. Prints a line for each attack and what came of it; holds the floods open
until it is told to end, so that others can be looked at meanwhile."""

import queue
import socket
import struct
import sys

import paramiko
from paramiko.message import Message

REQUEST, FAILURE, SUCCESS, BANNER, QUESTION, ANSWER = 50, 51, 52, 53, 60, 61


class Heard:
    """In place of paramiko's own handler: keeps what the server answers."""

    def __init__(self):
        self.answers = queue.Queue()
        self._handler_table = {kind: self.keep(kind) for kind in (6, FAILURE, SUCCESS, BANNER, QUESTION)}

    def keep(self, kind):
        return lambda message: self.answers.put((kind, message.asbytes()))

    def is_authenticated(self):
        return False

    def abort(self):
        self.answers.put((None, b""))


class Client:
    """A connection on which everything may be said."""

    def __init__(self):
        self.transport = paramiko.Transport(socket.create_connection(("127.0.0.1", PORT)))
        self.transport.start_client(timeout=60)
        self.heard = Heard()
        self.transport.auth_handler = self.heard
        self.say(5, b"ssh-userauth")
        assert self.answer()[0] == 6, "the service is not there"

    def say(self, kind, *parts):
        message = Message()
        message.add_byte(bytes([kind]))
        for part in parts:
            if isinstance(part, bool):
                message.add_boolean(part)
            elif isinstance(part, int):
                message.add_int(part)
            else:
                message.add_string(part)
        try:
            self.transport._send_message(message)
        except (OSError, EOFError, paramiko.SSHException):
            pass

    def answer(self):
        """The next answer; (None, ...) when the connection is over."""
        while True:
            try:
                kind, rest = self.heard.answers.get(timeout=0.2)
            except queue.Empty:
                if not self.transport.is_active():
                    return None, b""
                continue
            if kind != BANNER:
                return kind, rest

    def request(self, user, method, *parts):
        self.say(REQUEST, user, b"ssh-connection", method, *parts)

    def ask(self, user, method, *parts):
        self.request(user, method, *parts)
        return self.answer()

    def sign(self, user, key, blob, session_id):
        data = Message()
        data.add_string(session_id)
        data.add_byte(bytes([REQUEST]))
        for part in (user, b"ssh-connection", b"publickey"):
            data.add_string(part)
        data.add_boolean(True)
        data.add_string(b"ssh-ed25519")
        data.add_string(blob)
        return key.sign_ssh_data(data.asbytes()).asbytes()

    def show_key(self, user, key, blob=None, session_id=None, signature=None):
        blob = blob or key.asbytes()
        signature = signature or self.sign(user, key, blob, session_id or self.transport.session_id)
        return self.ask(user, b"publickey", True, b"ssh-ed25519", blob, signature)

    def drain(self):
        """All answers until the connection is over."""
        kinds = []
        while True:
            kind, _ = self.answer()
            if kind is None:
                return kinds
            kinds.append(kind)


def called(answer):
    kind, rest = answer
    if kind == FAILURE:
        length = struct.unpack(">I", rest[:4])[0]
        return "more" if rest[4 + length] else "refused"
    return {SUCCESS: "IN", None: "ended", QUESTION: "asked"}.get(kind, str(kind))


def told(name, *answers):
    print(f"{name}: {' '.join(answers)}", flush=True)


def forged_signatures():
    client = Client()
    told("a signature of another key", called(client.show_key(b"bob", mine, blob=bobs.asbytes())))
    told("a signature over another session", called(client.show_key(b"bob", bobs, session_id=b"x" * 32)))
    told("a signature for another name", called(client.show_key(b"bob", bobs, signature=client.sign(b"eve", bobs, bobs.asbytes(), client.transport.session_id))))
    first = Client()
    overheard = first.sign(b"bob", bobs, bobs.asbytes(), first.transport.session_id)
    told("a signature that another connection heard", called(client.show_key(b"bob", bobs, signature=overheard)))
    told("no signature", called(client.ask(b"bob", b"publickey", True, b"ssh-ed25519", bobs.asbytes(), b"")))


def partial_chains():
    """kim shows a key and a code; the code is right, and shown where the key was not."""
    first = Client()
    told("the first of two", called(first.show_key(b"kim", kims)))
    other = Client()
    told("the second of two on another connection", called(other.ask(b"kim", b"keyboard-interactive", b"", b"")))
    other.say(ANSWER, 1, CODE)
    told("its answer", called(other.answer()))
    told("the code as a password", called(Client().ask(b"kim", b"password", False, CODE)))
    overheard = first.sign(b"kim", kims, kims.asbytes(), first.transport.session_id)
    told("the first of two as another connection showed it", called(Client().show_key(b"kim", kims, signature=overheard)))
    told("the key of kim for eve after hers", called(first.show_key(b"eve", kims)))
    told("a question for eve then", called(first.ask(b"eve", b"keyboard-interactive", b"", b"")))


def strange_names():
    for name, user in (("nobody", b""), ("a NUL", b"bob\0"), ("half a name", b"bob\0root"), ("64 KiB", b"b" * 65536), ("no text", b"\xff\xfe")):
        client = Client()
        told(f"{name} with bob's key", called(client.show_key(user, bobs)))
        told(f"{name} with a password", called(client.ask(user, b"password", False, b"")))
    for name, password in (("an empty password", b""), ("64 KiB of password", b"x" * 65536), ("a NUL in one", b"correct horse\0")):
        told(name, called(Client().ask(b"bob", b"password", False, password)))


def changes_of_passwords():
    client = Client()
    told("another password for a wrong one", called(client.ask(b"bob", b"password", True, b"wrong", b"mine now")))
    told("another password for the right one", called(client.ask(b"bob", b"password", True, b"correct horse", b"mine now")))
    told("the other password", called(client.ask(b"bob", b"password", False, b"mine now")))


def unasked_answers():
    client = Client()
    client.say(ANSWER, 1, CODE)
    told("an answer to nothing", called(client.answer()))
    client = Client()
    client.request(b"kim", b"keyboard-interactive", b"", b"")
    client.answer()
    client.say(ANSWER, 0xFFFFFFFF)
    told("four billion answers", called(client.answer()))
    client = Client()
    assert called(client.show_key(b"kim", kims)) == "more"
    assert called(client.ask(b"kim", b"keyboard-interactive", b"", b"")) == "asked"
    client.say(ANSWER, 0xFFFFFFFF, b"1")
    told("four billion answers to a question", called(client.answer()))


def before_its_time():
    for name, say in (
        ("a channel", lambda c: c.say(90, b"session", 0, 1 << 20, 1 << 15)),
        ("a forward", lambda c: c.say(80, b"tcpip-forward", True, b"", 0)),
        ("a success of its own", lambda c: c.say(SUCCESS)),
        ("another service", lambda c: c.say(REQUEST, b"bob", b"ssh-userauth", b"none")),
    ):
        client = Client()
        say(client)
        told(f"{name} before its time", called(client.ask(b"bob", b"password", False, b"wrong")))


def flood(name, one):
    """Sends ten thousand of something without waiting, and holds on to the connection."""
    client = Client()
    for n in range(10_000):
        if not client.transport.is_active():
            break
        one(client, n)
    floods.append((name, client))


PORT = int(sys.argv[1])
bobs, kims = (paramiko.Ed25519Key.from_private_key_file(name) for name in sys.argv[2:4])
mine = paramiko.Ed25519Key.from_private_key_file(sys.argv[4])
CODE = sys.argv[5].encode()
floods = []

forged_signatures()
partial_chains()
strange_names()
changes_of_passwords()
unasked_answers()
before_its_time()

flood("offered keys", lambda c, n: c.request(b"bob", b"publickey", False, b"ssh-ed25519", b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + struct.pack(">I", n) * 8))
flood("nothing at all", lambda c, n: c.request(b"bob", b"none"))
flood("questions", lambda c, n: c.request(b"kim", b"keyboard-interactive", b"", b""))
flood("names", lambda c, n: c.request(b"user%d" % n, b"none"))
asker = Client()
assert called(asker.show_key(b"kim", kims)) == "more"
for _ in range(5_000):
    if not asker.transport.is_active():
        break
    asker.request(b"kim", b"keyboard-interactive", b"", b"")
floods.append(("questions that are asked", asker))
print("ready", flush=True)
sys.stdin.readline()
for name, client in floods:
    told(f"a flood of {name}", "IN" if SUCCESS in client.heard.answers.queue else "kept out")
    client.transport.close()
