"""Drives paramiko: port user key known_hosts local back. Prints one line for each step that it has seen to be right."""

import os
import stat
import sys

import paramiko

port, user, key, known_hosts, local, back = sys.argv[1:7]


def connect():
    client = paramiko.SSHClient()
    client.load_host_keys(known_hosts)
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    client.connect("127.0.0.1", int(port), user, key_filename=key, allow_agent=False, look_for_keys=False)
    return client


def upload(sftp, source, target):
    sftp.mkdir(target)
    for name in os.listdir(source):
        here, there = os.path.join(source, name), f"{target}/{name}"
        if os.path.isdir(here):
            upload(sftp, here, there)
        else:
            sftp.put(here, there)  # compares the size by stat at its end
            sftp.chmod(there, os.stat(here).st_mode & 0o777)
            sftp.utime(there, (os.stat(here).st_atime, os.stat(here).st_mtime))


def download(sftp, source, target):
    os.mkdir(target)
    for entry in list(sftp.listdir_iter(source)):  # many READDIR at once; nothing else may be asked meanwhile
        here, there = os.path.join(target, entry.filename), f"{source}/{entry.filename}"
        if stat.S_ISDIR(entry.st_mode):
            download(sftp, there, here)
        else:
            sftp.get(there, here)  # prefetches the whole file
            os.chmod(here, entry.st_mode & 0o777)
            os.utime(here, (entry.st_atime, entry.st_mtime))


def fails(errno, call):
    try:
        call()
    except OSError as error:
        assert error.errno == errno, (error.errno, str(error))
    else:
        raise AssertionError("it succeeded")


client = connect()
sftp = client.open_sftp()
assert sftp.normalize(".") == "/", sftp.normalize(".")
upload(sftp, local, "tree")
print("put with mode and times of every file")
download(sftp, "tree", back)
print("get with prefetch")

big = open(os.path.join(local, "big"), "rb").read()
with sftp.open("random", "w+") as file:
    file.set_pipelined(True)
    file.write(big)
    file.seek(1_000_000)
    assert file.read(70_000) == big[1_000_000:1_070_000]
    assert b"".join(file.readv([(0, 40_000), (5_000_000, 40_000)])) == big[:40_000] + big[5_000_000:5_040_000]
    file.truncate(2_000_000)
    assert file.stat().st_size == 2_000_000
with sftp.open("random", "a") as file:
    file.write(big[2_000_000:])
    assert sftp.stat("random").st_size == len(big)
print("pipelined writes, seek, readv, truncate, append")

with sftp.open("random", "r") as file:
    import hashlib

    for name in ("sha256", "sha1", "md5"):
        assert file.check(name) == hashlib.new(name, big).digest(), name
    parts = [hashlib.sha256(big[at : at + 1_000_000]).digest() for at in range(0, len(big), 1_000_000)]
    assert file.check("sha256", 0, 0, 1_000_000) == b"".join(parts)
print("check-file: sha256, sha1, md5, by blocks")

# A window that is never opened further, as it is large enough, and requests one after the other.
paramiko.sftp_file.SFTPFile.MAX_REQUEST_SIZE, usual = 200_000, paramiko.sftp_file.SFTPFile.MAX_REQUEST_SIZE
wide = paramiko.SFTPClient.from_transport(client.get_transport(), window_size=2**31 - 1)
wide.get_channel().settimeout(20)
with wide.open("wide", "w") as file:
    file.write(bytes(24_000_000))
with wide.open("wide", "r") as file:
    assert sum(len(file.read(200_000)) for _ in range(121)) == 24_000_000
wide.remove("wide")
wide.close()
paramiko.sftp_file.SFTPFile.MAX_REQUEST_SIZE = usual
print("24 MB through a window of 2 GiB")

sftp.posix_rename("random", "renamed")
fails(None, lambda: sftp.rename("renamed", "tree/big"))
sftp.symlink("renamed", "soft")
assert sftp.readlink("soft") == "renamed"
assert stat.S_ISLNK(sftp.lstat("soft").st_mode) and stat.S_ISREG(sftp.stat("soft").st_mode)
fails(2, lambda: sftp.stat("nothing"))
fails(2, lambda: sftp.open("nothing/file", "w"))
sftp.chdir("tree")
assert sftp.getcwd() == "/tree" and "run.sh" in sftp.listdir(".")
sftp.chdir("/")
own = sftp.stat("renamed")
sftp.chown("renamed", own.st_uid, own.st_gid)
sftp.remove("soft")
sftp.remove("renamed")
print("posix_rename, rename onto a file refused, symlink, readlink, chdir, chown to oneself, ENOENT")

others = [client.open_sftp() for _ in range(5)]
assert all("tree" in other.listdir("/") for other in others)
print("six SFTP channels on one connection")
client.close()
