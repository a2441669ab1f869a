/* UDP as fast as one wants it, with as little of the processor as can be: for networks of gigabits.
 *
 *     packets sink PORT                           takes what comes, until a stream has ended
 *     packets send ADDRESS PORT SIZE RATE WARM SECONDS TRAIN
 *     packets echo PORT                           sends everything back, until it is ended
 *     packets ping ADDRESS PORT COUNT INTERVAL SIZE
 *
 * `send` makes RATE datagrams of SIZE bytes of payload a second, for WARM seconds that do not count and then
 * for SECONDS that do; every TICK what has become due goes out in one sendmmsg. With a TRAIN above 1 it
 * hands so many at a time to the kernel, which cuts them (UDP_SEGMENT). Where it cannot keep up, what is more
 * than DEBT late is never sent; it says how many it did send. Each datagram has its number and its phase.
 * `sink` says "ready", and after the last phase one line of JSON: how many of the counted came, and how many of
 * whatever phase in the SECONDS from the first counted one on: that is the rate at which they come, even
 * where a queue stood before. `ping` sends one every INTERVAL microseconds and prints by number the round trip
 * in ns, or -1. Programs go before others where they may: they stand for other machines.
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

#define SECOND INT64_C(1000000000)
#define TICK INT64_C(250000)
#define PAUSE INT64_C(500000)
#define DEBT (10 * INT64_C(1000000))
#define BATCH 64
#define LARGEST 65536
#define BUFFER (16 << 20)
#define ENDINGS 20
#define PATIENCE (3 * SECOND) /* what comes later than that after the first ending is lost */
#define SILENCE (30 * SECOND) /* without any datagram a sink gives up */

enum phase { WARMING, COUNTED, ENDING };

struct head {
    uint64_t number; /* within its phase; of an ending: how many were counted */
    int64_t length;  /* ns that are counted */
    uint32_t phase;
} __attribute__((packed));

static int64_t clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

static void rest(int64_t length)
{
    if (length <= 0)
        return;
    struct timespec time = {length / SECOND, length % SECOND};
    nanosleep(&time, NULL);
}

static void fail(const char *what)
{
    fprintf(stderr, "packets: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void hurry(void)
{
    (void)!setpriority(PRIO_PROCESS, 0, -20);
    prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
}

static int open_socket(void)
{
    int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), room = BUFFER;
    if (descriptor < 0)
        fail("cannot open a socket");
    if (setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    if (setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) != 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    return descriptor;
}

static int open_at(const char *port)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    int descriptor = open_socket();
    if (bind(descriptor, (struct sockaddr *)&here, sizeof here) != 0)
        fail("cannot bind");
    return descriptor;
}

static int open_to(const char *host, const char *port)
{
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    int descriptor = open_socket();
    if (inet_pton(AF_INET, host, &there.sin_addr) != 1)
        fail("no IPv4 address");
    if (connect(descriptor, (struct sockaddr *)&there, sizeof there) != 0)
        fail("cannot connect");
    return descriptor;
}

static void ready(void)
{
    puts("ready");
    fflush(stdout);
}

static int64_t cpu_used(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return used.tv_sec * SECOND + used.tv_nsec;
}

/* The sender */

struct source {
    int descriptor, train;
    size_t size;
    int64_t length;
    uint64_t refused;
    uint8_t *room;
    struct iovec parts[BATCH];
    struct mmsghdr messages[BATCH];
};

static void send_some(struct source *source, enum phase phase, uint64_t first, uint64_t count)
{
    while (count) {
        int used = 0;
        uint64_t put = 0;
        while (used < BATCH && put < count) {
            uint64_t here = count - put < (uint64_t)source->train ? count - put : (uint64_t)source->train;
            uint8_t *at = source->room + (size_t)used * (size_t)source->train * source->size;
            for (uint64_t each = 0; each < here; each++) {
                struct head head = {first + put + each, source->length, phase};
                memcpy(at + each * source->size, &head, sizeof head);
            }
            source->parts[used] = (struct iovec){at, here * source->size};
            source->messages[used].msg_hdr =
                (struct msghdr){.msg_iov = &source->parts[used], .msg_iovlen = 1};
            used++;
            put += here;
        }
        for (int sent = 0; sent < used;) {
            int now = sendmmsg(source->descriptor, source->messages + sent, (unsigned)(used - sent), 0);
            if (now > 0) {
                sent += now;
            } else if (errno != EINTR) { /* no route or no room: one more that does not come */
                source->refused += source->messages[sent].msg_hdr.msg_iov->iov_len / source->size;
                sent++;
            }
        }
        first += put;
        count -= put;
    }
}

static uint64_t send_phase(struct source *source, enum phase phase, double rate, double seconds)
{
    int64_t start = clock_now(), length = (int64_t)(seconds * (double)SECOND), now = start;
    double most = rate * (double)DEBT / (double)SECOND;
    double given_up = 0;
    uint64_t sent = 0;
    while (now - start < length) {
        double due = rate * (double)(now - start) / (double)SECOND - given_up;
        if (due - (double)sent > most + 1) {
            given_up += due - (double)sent - most;
            due = (double)sent + most;
        }
        if (due > (double)sent) {
            uint64_t some = (uint64_t)(due - (double)sent);
            if (source->train > 1) /* whole trains only */
                some -= some % (uint64_t)source->train;
            send_some(source, phase, sent, some);
            sent += some;
        }
        rest(TICK - (clock_now() - start) % TICK);
        now = clock_now();
    }
    return sent;
}

static int send_all(char **words)
{
    static struct source source;
    source.descriptor = open_to(words[0], words[1]);
    source.size = (size_t)atoi(words[2]);
    source.train = atoi(words[6]);
    double rate = atof(words[3]), warm = atof(words[4]), seconds = atof(words[5]);
    source.length = (int64_t)(seconds * (double)SECOND);
    if (source.size < sizeof(struct head) || source.train < 1 ||
        (size_t)source.train * source.size >= LARGEST - 64 || rate <= 0) {
        fprintf(stderr, "packets: no such stream\n");
        return 2;
    }
    int size = (int)source.size;
    if (source.train > 1 &&
        setsockopt(source.descriptor, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size) != 0)
        fail("the kernel cuts no trains of UDP");
    source.room = calloc((size_t)source.train * BATCH, source.size);
    if (source.room == NULL)
        fail("no memory");
    hurry();
    send_phase(&source, WARMING, rate, warm);
    source.refused = 0;
    int64_t began = clock_now(), used = cpu_used();
    uint64_t sent = send_phase(&source, COUNTED, rate, seconds);
    int64_t took = clock_now() - began;
    used = cpu_used() - used;
    for (int each = 0; each < ENDINGS; each++) {
        rest(10 * INT64_C(1000000));
        send_some(&source, ENDING, sent, 1);
    }
    printf("{\"sent\": %" PRIu64 ", \"refused\": %" PRIu64 ", \"seconds\": %.6f, \"cpu\": %.6f}\n", sent,
           source.refused, (double)took / 1e9, (double)used / 1e9);
    return 0;
}

/* The sink */

struct tally {
    uint64_t received, in_time, bytes, reordered, next;
    int64_t first, last, ending;
    uint64_t missing_told;
};

static void count_one(struct tally *tally, const uint8_t *data, size_t size, int64_t now)
{
    struct head head;
    if (size < sizeof head)
        return;
    memcpy(&head, data, sizeof head);
    if (head.phase == ENDING) {
        tally->ending = tally->ending ? tally->ending : now;
        tally->missing_told = head.number;
        return;
    }
    if (head.phase == COUNTED) {
        if (!tally->first) {
            tally->first = now;
            tally->last = now + head.length;
        }
        tally->received++;
        tally->reordered += head.number < tally->next;
        tally->next = head.number < tally->next ? tally->next : head.number + 1;
    }
    if (tally->first && now < tally->last) {
        tally->in_time++;
        tally->bytes += size;
    }
}

static size_t cut_every(struct msghdr *message, size_t whole)
{
    for (struct cmsghdr *each = CMSG_FIRSTHDR(message); each; each = CMSG_NXTHDR(message, each))
        if (each->cmsg_level == IPPROTO_UDP && each->cmsg_type == UDP_GRO) {
            int size;
            memcpy(&size, CMSG_DATA(each), sizeof size);
            return size > 0 ? (size_t)size : whole;
        }
    return whole;
}

static int take(int descriptor, struct tally *tally)
{
    static uint8_t room[BATCH][LARGEST];
    static struct iovec parts[BATCH];
    static struct mmsghdr messages[BATCH];
    static char control[BATCH][CMSG_SPACE(sizeof(int))];
    for (int each = 0; each < BATCH; each++) {
        parts[each] = (struct iovec){room[each], LARGEST};
        messages[each].msg_hdr = (struct msghdr){.msg_iov = &parts[each],
                                                 .msg_iovlen = 1,
                                                 .msg_control = control[each],
                                                 .msg_controllen = sizeof control[each]};
    }
    int count = recvmmsg(descriptor, messages, BATCH, MSG_DONTWAIT, NULL);
    int64_t now = clock_now();
    for (int each = 0; each < count; each++) {
        size_t whole = messages[each].msg_len;
        size_t step = cut_every(&messages[each].msg_hdr, whole);
        for (size_t at = 0; at < whole; at += step)
            count_one(tally, room[each] + at, whole - at < step ? whole - at : step, now);
    }
    return count;
}

static int sink_all(char **words)
{
    int descriptor = open_at(words[0]), on = 1;
    setsockopt(descriptor, IPPROTO_UDP, UDP_GRO, &on, sizeof on);
    hurry();
    ready();
    struct tally tally = {0};
    int64_t heard = clock_now(), used = 0;
    /* after an ending there may be more under way on other paths */
    while (!tally.ending || (clock_now() - tally.ending < PATIENCE && tally.received < tally.missing_told)) {
        struct pollfd watched = {.fd = descriptor, .events = POLLIN};
        poll(&watched, 1, 100);
        bool counting = tally.first != 0;
        int count = take(descriptor, &tally);
        if (count > 0)
            heard = clock_now();
        else if (clock_now() - heard > SILENCE)
            break;
        if (!counting && tally.first)
            used = cpu_used();
        if (count > 0 && count < BATCH)
            rest(PAUSE);
    }
    uint32_t memory[9] = {0};
    socklen_t length = sizeof memory;
    getsockopt(descriptor, SOL_SOCKET, SO_MEMINFO, memory, &length);
    printf("{\"received\": %" PRIu64 ", \"in_time\": %" PRIu64 ", \"bytes\": %" PRIu64
           ", \"reordered\": %" PRIu64 ", \"overrun\": %" PRIu32 ", \"cpu\": %.6f}\n",
           tally.received, tally.in_time, tally.bytes, tally.reordered, memory[8],
           (double)(cpu_used() - used) / 1e9);
    return 0;
}

/* Echo and ping */

static void echo_all(char **words)
{
    int descriptor = open_at(words[0]);
    static uint8_t room[LARGEST];
    hurry();
    ready();
    for (;;) {
        struct sockaddr_in from;
        socklen_t length = sizeof from;
        ssize_t got = recvfrom(descriptor, room, sizeof room, 0, (struct sockaddr *)&from, &length);
        if (got > 0)
            (void)!sendto(descriptor, room, (size_t)got, 0, (struct sockaddr *)&from, length);
    }
}

static void hear(int descriptor, int64_t until, const int64_t *left, int64_t *trips, int64_t count)
{
    for (int64_t now; (now = clock_now()) < until;) {
        struct pollfd watched = {.fd = descriptor, .events = POLLIN};
        struct timespec time = {(until - now) / SECOND, (until - now) % SECOND};
        if (ppoll(&watched, 1, &time, NULL) <= 0)
            continue;
        int64_t number;
        ssize_t got = recv(descriptor, &number, sizeof number, MSG_DONTWAIT);
        now = clock_now();
        if (got == sizeof number && number >= 0 && number < count && left[number] && trips[number] < 0)
            trips[number] = now - left[number];
    }
}

static int ping_all(char **words)
{
    int descriptor = open_to(words[0], words[1]);
    int64_t count = atoll(words[2]), interval = atoll(words[3]) * 1000;
    size_t size = (size_t)atoi(words[4]);
    if (count < 1 || interval < 1 || size < sizeof(int64_t) || size > 1400) {
        fprintf(stderr, "packets: no such pings\n");
        return 2;
    }
    int64_t *left = calloc((size_t)count, sizeof *left), *trips = calloc((size_t)count, sizeof *trips);
    uint8_t room[1400] = {0};
    if (left == NULL || trips == NULL)
        fail("no memory");
    hurry();
    int64_t start = clock_now();
    for (int64_t each = 0; each < count; each++) {
        trips[each] = -1;
        hear(descriptor, start + each * interval, left, trips, count);
        memcpy(room, &each, sizeof each);
        left[each] = clock_now();
        (void)!send(descriptor, room, size, 0);
    }
    hear(descriptor, clock_now() + SECOND, left, trips, count);
    for (int64_t each = 0; each < count; each++)
        printf(each ? ", %" PRId64 : "[%" PRId64, trips[each]);
    puts("]");
    return 0;
}

int main(int count, char **words)
{
    const char *verb = count > 1 ? words[1] : "";
    if (count == 3 && strcmp(verb, "sink") == 0)
        return sink_all(words + 2);
    if (count == 9 && strcmp(verb, "send") == 0)
        return send_all(words + 2);
    if (count == 3 && strcmp(verb, "echo") == 0)
        echo_all(words + 2);
    if (count == 7 && strcmp(verb, "ping") == 0)
        return ping_all(words + 2);
    fprintf(stderr, "usage: packets sink PORT | send ADDRESS PORT SIZE RATE WARM SECONDS TRAIN\n"
                    "       packets echo PORT | ping ADDRESS PORT COUNT INTERVAL SIZE\n");
    return 2;
}
