/* wanlink: a wire of a given length between two network namespaces.
 *
 *     wanlink NS_A ADDRESS_A NS_B ADDRESS_B DELAY_MS LOSS_PERCENT MBIT
 *
 * Puts a TUN device into each of two existing namespaces (`ip netns add`), gives each its address with the other as its
 * peer, and carries packets between them: each waits its turn on the wire (MBIT; 0 is no limit), may be lost (independently,
 * from a fixed seed: every run loses the same packets), and arrives DELAY_MS later, in order. A full queue drops its newest,
 * as a router does. So kernels without netem have round trips, slow start and losses as well.
 *
 * Prints "ready" once packets flow. Runs until killed; the devices go with it. Needs /dev/net/tun and CAP_SYS_ADMIN.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { MTU = 1500, QUEUE_PACKETS = 8192, QUEUE_MAX_MS = 200 };

struct packet {
    int64_t due_ns; /* when it arrives at the other end */
    int length;
    unsigned char bytes[MTU];
};

/* One direction: a ring of packets on their way. */
struct wire {
    struct packet *ring;
    unsigned head, tail; /* head - tail packets are on their way; the counters wrap, QUEUE_PACKETS is a power of two */
    int from, to;
    int64_t busy_until_ns; /* until then earlier packets are still being put onto the wire */
};

static int64_t delay_ns;
static double loss, bits_per_ns;
static uint64_t dice = 0x9e3779b97f4a7c15u;

static void die(const char *what) {
    fprintf(stderr, "wanlink: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static int lost(void) {
    dice ^= dice >> 12;
    dice ^= dice << 25;
    dice ^= dice >> 27;
    return (double)((dice * 0x2545f4914f6cdd1du) >> 11) / 9007199254740992.0 < loss;
}

/* Enter a namespace, make its device there, bring it up. The descriptor works from any namespace afterwards. */
static int device(const char *space, const char *address, const char *peer) {
    char path[256], command[512];
    snprintf(path, sizeof path, "/run/netns/%s", space);
    int ns = open(path, O_RDONLY | O_CLOEXEC);
    if (ns < 0 || setns(ns, CLONE_NEWNET)) die(path);
    close(ns);
    int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tun < 0) die("/dev/net/tun");
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    strcpy(request.ifr_name, "wan%d"); /* the first that is free there: several links may end in one namespace */
    if (ioctl(tun, TUNSETIFF, &request)) die("TUNSETIFF");
    snprintf(command, sizeof command,
             "ip link set lo up && ip address add %s peer %s dev %s && ip link set %s up mtu %d txqueuelen 10000",
             address, peer, request.ifr_name, request.ifr_name, MTU);
    if (system(command)) die("ip");
    return tun;
}

/* Take in what the near end sent: lose it, drop it from a full queue, or give it its time of arrival. */
static void take(struct wire *w) {
    while (w->head - w->tail < QUEUE_PACKETS) {
        struct packet *p = &w->ring[w->head % QUEUE_PACKETS];
        p->length = (int)read(w->from, p->bytes, sizeof p->bytes);
        if (p->length <= 0) return;
        int64_t now = now_ns(), start = w->busy_until_ns > now ? w->busy_until_ns : now;
        if (lost() || start - now > QUEUE_MAX_MS * 1000000ll) continue;
        w->busy_until_ns = start + (bits_per_ns > 0 ? (int64_t)(p->length * 8 / bits_per_ns) : 0);
        p->due_ns = w->busy_until_ns + delay_ns;
        w->head++;
    }
}

/* Hand over what has arrived; returns when the next packet will, or -1. */
static int64_t hand_over(struct wire *w) {
    while (w->tail != w->head) {
        struct packet *p = &w->ring[w->tail % QUEUE_PACKETS];
        if (p->due_ns > now_ns()) return p->due_ns;
        if (write(w->to, p->bytes, (size_t)p->length) < 0 && errno == EAGAIN) return now_ns() + 100000;
        w->tail++;
    }
    return -1;
}

int main(int count, char **word) {
    if (count != 8) {
        fprintf(stderr, "usage: wanlink NS_A ADDRESS_A NS_B ADDRESS_B DELAY_MS LOSS_PERCENT MBIT\n");
        return 2;
    }
    delay_ns = (int64_t)(atof(word[5]) * 1e6);
    loss = atof(word[6]) / 100;
    bits_per_ns = atof(word[7]) / 1000;
    prctl(PR_SET_TIMERSLACK, 1); /* poll to the nanosecond, not to 50 us */
    int a = device(word[1], word[2], word[4]), b = device(word[3], word[4], word[2]);
    struct wire there = {.from = a, .to = b}, back = {.from = b, .to = a};
    there.ring = calloc(QUEUE_PACKETS, sizeof *there.ring);
    back.ring = calloc(QUEUE_PACKETS, sizeof *back.ring);
    if (!there.ring || !back.ring) die("memory");
    puts("ready");
    fflush(stdout);
    for (;;) {
        int64_t next = hand_over(&there), other = hand_over(&back);
        if (next < 0 || (other >= 0 && other < next)) next = other;
        int64_t wait = next < 0 ? 1000000000ll : next - now_ns();
        if (wait < 0) wait = 0;
        struct timespec timeout = {wait / 1000000000ll, wait % 1000000000ll};
        struct pollfd ends[2] = {{a, POLLIN, 0}, {b, POLLIN, 0}};
        if (ppoll(ends, 2, &timeout, NULL) < 0 && errno != EINTR) die("ppoll");
        take(&there);
        take(&back);
    }
}
