/* A TCP proxy on the loopback interface that hands every byte on later than it came.
 *
 *     delay_proxy LISTEN_PORT TARGET_PORT MILLISECONDS
 *
 * MILLISECONDS are those of a round trip: half of them on the way there, half on the way back.
 * Each direction of a connection is a stream, which keeps what it has read until it is due.
 * Bandwidth is not limited, order is kept, an end of file is handed on like a byte.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 64 * 1024, MOST_HELD = 4 * 1024 * 1024, EVENTS = 256 };

struct piece {
    struct piece *next;
    int64_t due;
    size_t size, sent;
    char bytes[];
};

struct end {
    int fd;
    uint32_t watched;
    struct end *other;
    struct connection *connection;
    struct piece *first, *last; /* what is to be sent on this end */
    size_t held;                /* bytes of it */
    int read_out;               /* nothing more comes from this end */
    int closed;                 /* nothing more goes to this end */
    int full;                   /* the kernel takes no more at present */
};

struct connection {
    struct end client, server;
    struct connection *next;
    int broken;
};

static struct connection *connections;
static int poller;
static int64_t one_way; /* microseconds */

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000) + time.tv_nsec / 1000;
}

static void watch(struct end *end) {
    uint32_t wanted = 0;
    if (!end->read_out && end->other->held < MOST_HELD) wanted |= EPOLLIN;
    if (end->full) wanted |= EPOLLOUT;
    if (wanted == end->watched) return;
    struct epoll_event event = {.events = wanted, .data.ptr = end};
    epoll_ctl(poller, EPOLL_CTL_MOD, end->fd, &event);
    end->watched = wanted;
}

static void read_piece(struct end *end) {
    struct end *to = end->other;
    struct piece *piece = malloc(sizeof *piece + PIECE);
    ssize_t size = recv(end->fd, piece->bytes, PIECE, MSG_DONTWAIT);
    if (size < 0) {
        end->connection->broken = errno != EAGAIN;
        free(piece);
        return;
    }
    piece = realloc(piece, sizeof *piece + size);
    *piece = (struct piece){.due = now() + one_way, .size = size};
    if (to->last) to->last->next = piece; else to->first = piece;
    to->last = piece;
    to->held += size;
    if (size == 0) end->read_out = 1;
}

static void send_due(struct end *end, int64_t time) {
    end->full = 0;
    while (end->first && end->first->due <= time) {
        struct piece *piece = end->first;
        if (piece->size == 0) {
            shutdown(end->fd, SHUT_WR);
            end->closed = 1;
        } else {
            ssize_t sent = send(end->fd, piece->bytes + piece->sent, piece->size - piece->sent,
                                MSG_DONTWAIT | MSG_NOSIGNAL);
            if (sent > 0) { piece->sent += sent; end->held -= sent; }
            if (piece->sent < piece->size) { end->full = 1; break; }
        }
        end->first = piece->next;
        if (!end->first) end->last = NULL;
        free(piece);
    }
}

static void add(struct end *end, int fd, struct end *other, struct connection *connection) {
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    *end = (struct end){.fd = fd, .other = other, .connection = connection, .watched = EPOLLIN};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = end};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

static void accept_all(int listener, struct sockaddr_in target) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        int server = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(server, (struct sockaddr *)&target, sizeof target)) {
            close(server);
            close(fd);
            continue;
        }
        struct connection *connection = calloc(1, sizeof *connection);
        add(&connection->client, fd, &connection->server, connection);
        add(&connection->server, server, &connection->client, connection);
        connection->next = connections;
        connections = connection;
    }
}

static void forget(struct end *end) {
    close(end->fd);
    while (end->first) {
        struct piece *next = end->first->next;
        free(end->first);
        end->first = next;
    }
}

/* Send what is due on all connections; returns microseconds until more is, or -1. */
static int64_t send_all(int64_t time) {
    int64_t wait = -1;
    for (struct connection **at = &connections; *at;) {
        struct connection *one = *at;
        struct end *ends[] = {&one->client, &one->server};
        for (int i = 0; i < 2 && !one->broken; i++) {
            send_due(ends[i], time);
            struct piece *first = ends[i]->full ? NULL : ends[i]->first;
            if (first && (wait < 0 || first->due - time < wait)) wait = first->due - time;
        }
        if (one->broken || (one->client.closed && one->server.closed)) {
            *at = one->next;
            forget(&one->client);
            forget(&one->server);
            free(one);
            continue;
        }
        watch(&one->client);
        watch(&one->server);
        at = &one->next;
    }
    return wait;
}

int main(int count, char **words) {
    if (count != 4) return 2;
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons(atoi(words[2]))};
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct sockaddr_in here = target;
    here.sin_port = htons(atoi(words[1]));
    one_way = (int64_t)(atof(words[3]) * 500);
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 1024)) {
        perror("delay_proxy");
        return 1;
    }
    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, found[EVENTS];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int64_t wait = send_all(now());
        struct timespec most = {wait / 1000000, wait % 1000000 * 1000};
        int ready = epoll_pwait2(poller, found, EVENTS, wait < 0 ? NULL : &most, NULL);
        int new_ones = 0;
        for (int i = 0; i < ready; i++) {
            struct end *end = found[i].data.ptr;
            if (!end) new_ones = 1;
            else if (found[i].events & EPOLLERR) end->connection->broken = 1;
            else if (found[i].events & (EPOLLIN | EPOLLHUP) && !end->read_out) read_piece(end);
        }
        if (new_ones) accept_all(listener, target);
    }
}
