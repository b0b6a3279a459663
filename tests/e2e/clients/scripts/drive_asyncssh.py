"""Drives asyncssh: port user key known_hosts local back. Prints one line for each step that it has seen to be right."""

import asyncio
import os
import sys

import asyncssh

port, user, key, known_hosts, local, back = sys.argv[1:7]


async def random_access(sftp, big):
    async with sftp.open("random", "wb+") as file:
        blocks = range(0, len(big), 100_000)
        await asyncio.gather(*(file.write(big[at : at + 100_000], at) for at in blocks))
        read = await asyncio.gather(*(file.read(100_000, at) for at in blocks))
        assert b"".join(read) == big
        await file.fsync()
        assert (await file.stat()).size == len(big)
    print("all blocks of a file written and read at once, fsync")


async def names(sftp):
    await sftp.posix_rename("random", "renamed")
    await sftp.link("renamed", "hard")
    # Its arguments stand the other way round for a server that does not call itself OpenSSH.
    await sftp.symlink("renamed", "soft")
    assert await sftp.readlink("soft") == "renamed"
    assert (await sftp.stat("hard")).nlink in (None, 2)
    assert await sftp.exists("tree/run.sh") and not await sftp.exists("nothing")
    found = await sftp.glob("tree/dir 00*/file-0000*")
    assert len(found) == 10, found
    vfs = await sftp.statvfs("/")
    assert vfs.blocks > 0
    try:
        await sftp.stat("nothing")
    except asyncssh.SFTPNoSuchFile:
        pass
    else:
        raise AssertionError("a file that is not there")
    for name in ("soft", "hard", "renamed"):
        await sftp.remove(name)
    print("posix_rename, link, symlink, glob, statvfs")


async def main():
    connecting = asyncssh.connect(
        "127.0.0.1", int(port), username=user, client_keys=[key], known_hosts=known_hosts, agent_path=None, config=None
    )
    async with connecting as connection:
        async with connection.start_sftp_client() as sftp:
            assert sftp.version == 3
            assert await sftp.realpath(".") == "/"
            await sftp.put(local, "tree", recurse=True, preserve=True, max_requests=128)
            print("put, recursive, 128 requests at once, modes and times")
            await sftp.get("tree", back, recurse=True, preserve=True, max_requests=128, block_size=250_000)
            print("get, recursive, blocks of 250,000 bytes")
            with open(os.path.join(local, "big"), "rb") as file:
                await random_access(sftp, file.read())
            await sftp.copy("tree/big", "copy", remote_only=True)
            assert (await sftp.stat("copy")).size == (await sftp.stat("tree/big")).size
            print("copy on the server")
            await names(sftp)
            await sftp.rmtree("tree")
            await sftp.remove("copy")
            assert not await sftp.exists("tree")
            print("rmtree")
        asked = connection.start_sftp_client(sftp_version=6)
        async with asked as sftp:
            assert sftp.version == 3, sftp.version
            assert await sftp.exists("/")
        print("version 6 asked for, 3 spoken")


asyncio.run(main())
