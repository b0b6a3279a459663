"""Proves one thing for bob, another for eve, on one connection, and says what came of each."""

import sys

import paramiko


def attempt(name, what):
    try:
        left = what()
        print(f"{name}: {'more' if left else 'in'}")
    except paramiko.SSHException:
        print(f"{name}: refused")


port, key, bobs, eves = sys.argv[1:]
# The plain one asks for the service anew before each attempt, which the SSH library does not answer.
transport = paramiko.ServiceRequestingTransport(("127.0.0.1", int(port)))
transport.start_client()
key = paramiko.Ed25519Key.from_private_key_file(key)
attempt("bob", lambda: transport.auth_publickey("bob", key))
attempt("eve", lambda: transport.auth_interactive("eve", lambda *_: [eves]))
attempt("anybody", lambda: transport.auth_interactive("", lambda *_: [eves]))
attempt("bob", lambda: transport.auth_interactive("bob", lambda *_: [bobs]))
transport.close()
