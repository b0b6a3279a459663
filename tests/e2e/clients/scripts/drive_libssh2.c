/* Drives libssh2 (curl, Transmit, Nova, many GUIs): port user key known_hosts local back, where local is one file.
 * Prints one line for each step that it has seen to be right. */
#include <arpa/inet.h>
#include <libssh2.h>
#include <libssh2_sftp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static LIBSSH2_SESSION *session;
static LIBSSH2_SFTP *sftp;

static void must(int holds, const char *what)
{
    if (!holds) {
        char *said = NULL;
        libssh2_session_last_error(session, &said, NULL, 0);
        fprintf(stderr, "%s: %s (sftp %lu)\n", what, said, sftp ? libssh2_sftp_last_error(sftp) : 0);
        exit(1);
    }
}

static int dial(int port)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    must(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0, "connect");
    return fd;
}

static void check_host_key(const char *file, int port)
{
    LIBSSH2_KNOWNHOSTS *hosts = libssh2_knownhost_init(session);
    size_t length;
    int type;
    const char *key = libssh2_session_hostkey(session, &length, &type);
    struct libssh2_knownhost *found;
    must(libssh2_knownhost_readfile(hosts, file, LIBSSH2_KNOWNHOST_FILE_OPENSSH) > 0, "known hosts");
    must(libssh2_knownhost_checkp(hosts, "127.0.0.1", port, key, length,
             LIBSSH2_KNOWNHOST_TYPE_PLAIN | LIBSSH2_KNOWNHOST_KEYENC_RAW, &found) == LIBSSH2_KNOWNHOST_CHECK_MATCH,
         "host key");
    libssh2_knownhost_free(hosts);
}

static void copy(const char *from, LIBSSH2_SFTP_HANDLE *up, LIBSSH2_SFTP_HANDLE *down, const char *to, size_t block)
{
    char *buffer = malloc(block);
    FILE *file = fopen(up ? from : to, up ? "rb" : "wb");
    size_t count;
    ssize_t moved;
    must(file != NULL, "a local file");
    if (up) {
        while ((count = fread(buffer, 1, block, file)) > 0) {
            for (size_t at = 0; at < count; at += (size_t)moved) {
                moved = libssh2_sftp_write(up, buffer + at, count - at);
                must(moved > 0, "write");
            }
        }
    } else {
        while ((moved = libssh2_sftp_read(down, buffer, block)) > 0) {
            must(fwrite(buffer, 1, (size_t)moved, file) == (size_t)moved, "write locally");
        }
        must(moved == 0, "read");
    }
    must(fclose(file) == 0, "close locally");
    free(buffer);
}

static void transfers(const char *local, const char *back)
{
    const unsigned long create = LIBSSH2_FXF_WRITE | LIBSSH2_FXF_CREAT | LIBSSH2_FXF_TRUNC;
    LIBSSH2_SFTP_HANDLE *handle = libssh2_sftp_open(sftp, "/up", create, 0640);
    LIBSSH2_SFTP_ATTRIBUTES found;
    must(handle != NULL, "open for writing");
    copy(local, handle, NULL, NULL, 1 << 20);
    must(libssh2_sftp_fsync(handle) == 0, "fsync");
    must(libssh2_sftp_fstat(handle, &found) == 0 && (found.permissions & 0777) == 0640, "fstat");
    must(libssh2_sftp_close(handle) == 0, "close");
    puts("write in blocks of 1 MiB, fsync, fstat");
    handle = libssh2_sftp_open(sftp, "/up", LIBSSH2_FXF_READ, 0);
    must(handle != NULL, "open for reading");
    copy(NULL, NULL, handle, back, 1 << 20);
    must(libssh2_sftp_close(handle) == 0, "close");
    puts("read ahead in blocks of 1 MiB");
    handle = libssh2_sftp_open(sftp, "/up", LIBSSH2_FXF_READ, 0);
    char one[1000], other[1000];
    libssh2_sftp_seek64(handle, 7000001);
    FILE *file = fopen(local, "rb");
    must(file && fseek(file, 7000001, SEEK_SET) == 0 && fread(one, 1, sizeof(one), file) == sizeof(one), "seek");
    must(libssh2_sftp_read(handle, other, sizeof(other)) == sizeof(other), "read");
    must(memcmp(one, other, sizeof(one)) == 0, "another part of the file");
    fclose(file);
    libssh2_sftp_close(handle);
    puts("seek");
}

static void names(void)
{
    char text[512];
    LIBSSH2_SFTP_ATTRIBUTES found = { 0 };
    LIBSSH2_SFTP_STATVFS space;
    LIBSSH2_SFTP_HANDLE *list;
    int seen = 0;
    must(libssh2_sftp_realpath(sftp, ".", text, sizeof(text)) > 0 && strcmp(text, "/") == 0, "realpath");
    must(libssh2_sftp_mkdir(sftp, "/d", 0750) == 0, "mkdir");
    must(libssh2_sftp_rename(sftp, "/up", "/d/moved") == 0, "rename");
    /* 1.10 makes the link and answers with an error, with any server; whether it is there is asked next. */
    libssh2_sftp_symlink(sftp, "moved", "/d/soft");
    must(libssh2_sftp_readlink(sftp, "/d/soft", text, sizeof(text)) == 5 && !memcmp(text, "moved", 5), "readlink");
    found.flags = LIBSSH2_SFTP_ATTR_PERMISSIONS | LIBSSH2_SFTP_ATTR_ACMODTIME;
    found.permissions = 0600;
    found.atime = found.mtime = 981173106;
    must(libssh2_sftp_setstat(sftp, "/d/moved", &found) == 0, "setstat");
    must(libssh2_sftp_stat(sftp, "/d/soft", &found) == 0 && found.mtime == 981173106, "stat");
    must(LIBSSH2_SFTP_S_ISREG(found.permissions), "stat does not follow");
    must(libssh2_sftp_lstat(sftp, "/d/soft", &found) == 0 && LIBSSH2_SFTP_S_ISLNK(found.permissions), "lstat");
    must(libssh2_sftp_statvfs(sftp, "/", 1, &space) == 0 && space.f_blocks > 0, "statvfs");
    list = libssh2_sftp_opendir(sftp, "/d");
    must(list != NULL, "opendir");
    while (libssh2_sftp_readdir(list, text, sizeof(text), &found) > 0) {
        seen++;
    }
    libssh2_sftp_closedir(list);
    must(seen == 4, "readdir");
    must(libssh2_sftp_stat(sftp, "/nothing", &found) != 0, "nothing is there");
    must(libssh2_sftp_last_error(sftp) == LIBSSH2_FX_NO_SUCH_FILE, "another error");
    must(libssh2_sftp_unlink(sftp, "/d/soft") == 0 && libssh2_sftp_unlink(sftp, "/d/moved") == 0, "unlink");
    must(libssh2_sftp_rmdir(sftp, "/d") == 0, "rmdir");
    puts("realpath, mkdir, rename, symlink, readlink, setstat, stat, lstat, statvfs, readdir, unlink, rmdir");
}

int main(int argc, char **argv)
{
    must(argc == 7, "port user key known_hosts local back");
    int port = atoi(argv[1]), fd = dial(port);
    char public[1024];
    snprintf(public, sizeof(public), "%s.pub", argv[3]);
    must(libssh2_init(0) == 0 && (session = libssh2_session_init()) != NULL, "init");
    must(libssh2_session_handshake(session, fd) == 0, "handshake");
    check_host_key(argv[4], port);
    must(libssh2_userauth_publickey_fromfile(session, argv[2], public, argv[3], NULL) == 0, "log in");
    must((sftp = libssh2_sftp_init(session)) != NULL, "sftp");
    transfers(argv[5], argv[6]);
    names();
    libssh2_sftp_shutdown(sftp);
    libssh2_session_disconnect(session, "done");
    libssh2_session_free(session);
    libssh2_exit();
    return close(fd);
}
