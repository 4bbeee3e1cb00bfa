/* The floor for hits: an epoll loop that answers every read with the same bytes and understands nothing.
 *
 *     floor PORT BODY_FILE
 *
 * What the kernel's sockets cost on this machine with one worker; no server that reads requests can be cheaper per request
 * without asking the kernel less often. Good for one request at a time per connection.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 128, ANSWER_MAX = 65536, REQUEST_MAX = 16384 };

static char answer[ANSWER_MAX];

static size_t prepare(const char *path) {
    static char body[ANSWER_MAX - 512];
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    size_t length = fread(body, 1, sizeof body, file);
    fclose(file);
    int head = sprintf(answer, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nX-Cache: HIT\r\n\r\n", length);
    memcpy(answer + head, body, length);
    return (size_t)head + length;
}

static int listener(int port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 4096)) return -1;
    return fd;
}

static void take(int poll, int from) {
    int on = 1, fd;
    while ((fd = accept4(from, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(int count, char **word) {
    size_t length = count == 3 ? prepare(word[2]) : 0;
    int from = length ? listener(atoi(word[1])) : -1, poll = epoll_create1(EPOLL_CLOEXEC);
    if (from < 0 || poll < 0) return fprintf(stderr, "floor PORT BODY_FILE: %s\n", strerror(errno)), 1;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = from}, events[EVENTS];
    epoll_ctl(poll, EPOLL_CTL_ADD, from, &event);
    for (;;) {
        int ready = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            static char request[REQUEST_MAX];
            int fd = events[i].data.fd;
            if (fd == from) take(poll, from);
            else if (read(fd, request, sizeof request) <= 0 || write(fd, answer, length) < 0) close(fd);
        }
    }
}
