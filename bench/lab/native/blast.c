/* Sends UDP datagrams at set rates over several links at once, and notes when each came.
 *
 *     blast send PORT SECONDS SIZE RATE…         waits for one greeting for each rate, then sends
 *     blast receive ADDRESS PORT SECONDS DEVICE… greets from each device, then notes what comes
 *
 * The sender answers greetings, so that its datagrams pass the NATs in between. Every MILLISECOND it
 * sends what has become due on all links, each datagram stamped with the time and its number. Rates are
 * in bit/s of IP packets of SIZE bytes. The receiver takes the kernel's time stamps, made when a packet
 * leaves the last device before it; both clocks are the same. For each device it prints a line of
 * JSON: {"sent": [ns, …], "delay": [ns, …]}, in the order of coming. The sender prints a JSON list of how
 * many it has sent over each link.
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)
#define TICK INT64_C(1000000)
#define HEADERS 28
#define LINKS 64
#define BATCH 64
#define PATIENCE (20 * SECOND)
#define BUFFER (8 << 20)
#define AFTERGLOW (SECOND / 2) /* how long the receiver waits for what is still under way */

struct stamp {
    int64_t time, link;
};

static int64_t clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "blast: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int open_socket(void)
{
    int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), room = BUFFER, on = 1;
    if (descriptor < 0)
        fail("cannot open a socket");
    if (setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    if (setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) != 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    setsockopt(descriptor, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    return descriptor;
}

static struct sockaddr_in address_of(const char *host, const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        fail("no IPv4 address");
    return address;
}

/* The sender */

static void hear_greetings(int descriptor, struct sockaddr_in *peers, int count)
{
    bool heard[LINKS] = {false};
    for (int missing = count; missing;) {
        int64_t link;
        struct sockaddr_in from;
        socklen_t length = sizeof from;
        ssize_t got = recvfrom(descriptor, &link, sizeof link, 0, (struct sockaddr *)&from, &length);
        if (got == sizeof link && link >= 0 && link < count) {
            peers[link] = from;
            missing -= !heard[link];
            heard[link] = true;
        }
    }
}

static void send_many(int descriptor, struct sockaddr_in *peer, int64_t link, int count, size_t size)
{
    static uint8_t payload[65536];
    static struct iovec part;
    struct mmsghdr messages[BATCH];
    struct stamp stamp = {clock_now(), link};
    memcpy(payload, &stamp, sizeof stamp);
    part = (struct iovec){payload, size};
    for (int each = 0; each < count; each++)
        messages[each] = (struct mmsghdr){.msg_hdr = {.msg_name = peer,
                                                      .msg_namelen = sizeof *peer,
                                                      .msg_iov = &part,
                                                      .msg_iovlen = 1}};
    for (int sent = 0; sent < count;) {
        int now = sendmmsg(descriptor, messages + sent, (unsigned)(count - sent), 0);
        if (now < 0 && errno != EINTR && errno != ENOBUFS && errno != EAGAIN)
            fail("cannot send");
        if (now > 0)
            sent += now;
    }
}

static int send_all(int count, char **words)
{
    int links = count - 3, descriptor = open_socket();
    struct sockaddr_in here = address_of("0.0.0.0", words[0]), peers[LINKS];
    int64_t duration = (int64_t)(atof(words[1]) * (double)SECOND), sent[LINKS] = {0};
    size_t size = (size_t)atoi(words[2]);
    double rates[LINKS];
    for (int link = 0; link < links; link++)
        rates[link] = atof(words[3 + link]);
    if (bind(descriptor, (struct sockaddr *)&here, sizeof here) != 0)
        fail("cannot bind");
    puts("ready");
    fflush(stdout);
    hear_greetings(descriptor, peers, links);
    int64_t start = clock_now(), now = start;
    while (now - start < duration) {
        for (int link = 0; link < links; link++) {
            double due = (double)(now - start) * rates[link] / 8e9 / (double)size;
            while ((int64_t)due > sent[link]) {
                int64_t missing = (int64_t)due - sent[link];
                int some = missing > BATCH ? BATCH : (int)missing;
                send_many(descriptor, &peers[link], link, some, size - HEADERS);
                sent[link] += some;
            }
        }
        struct timespec rest = {0, TICK - (clock_now() - start) % TICK};
        nanosleep(&rest, NULL);
        now = clock_now();
    }
    for (int link = 0; link < links; link++)
        printf(link ? ", %" PRId64 : "[%" PRId64, sent[link]);
    puts("]");
    return 0;
}

/* The receiver */

struct noted {
    int64_t *sent, *delay;
    size_t count, room;
};

static void note(struct noted *noted, int64_t sent, int64_t came)
{
    if (noted->count == noted->room) {
        noted->room = 2 * noted->room + 4096;
        noted->sent = realloc(noted->sent, noted->room * sizeof *noted->sent);
        noted->delay = realloc(noted->delay, noted->room * sizeof *noted->delay);
        if (noted->sent == NULL || noted->delay == NULL)
            fail("cannot note more");
    }
    noted->sent[noted->count] = sent;
    noted->delay[noted->count++] = came - sent;
}

static int64_t stamp_of(struct msghdr *message)
{
    for (struct cmsghdr *each = CMSG_FIRSTHDR(message); each; each = CMSG_NXTHDR(message, each))
        if (each->cmsg_level == SOL_SOCKET && each->cmsg_type == SO_TIMESTAMPNS) {
            struct timespec time;
            memcpy(&time, CMSG_DATA(each), sizeof time);
            return time.tv_sec * SECOND + time.tv_nsec;
        }
    return clock_now();
}

static bool take(int descriptor, struct noted *noted)
{
    static struct stamp stamps[BATCH];
    static struct iovec parts[BATCH];
    static struct mmsghdr messages[BATCH];
    static char control[BATCH][CMSG_SPACE(sizeof(struct timespec))];
    for (int each = 0; each < BATCH; each++) {
        parts[each] = (struct iovec){&stamps[each], sizeof stamps[each]};
        messages[each].msg_hdr = (struct msghdr){.msg_iov = &parts[each],
                                                 .msg_iovlen = 1,
                                                 .msg_control = control[each],
                                                 .msg_controllen = sizeof control[each]};
    }
    int count = recvmmsg(descriptor, messages, BATCH, MSG_DONTWAIT, NULL);
    for (int each = 0; each < count; each++)
        note(noted, stamps[each].time, stamp_of(&messages[each].msg_hdr));
    return count > 0;
}

static void print_noted(const struct noted *noted)
{
    const int64_t *columns[] = {noted->sent, noted->delay};
    for (int column = 0; column < 2; column++) {
        printf(column ? "], \"delay\": [" : "{\"sent\": [");
        for (size_t each = 0; each < noted->count; each++)
            printf(each ? ",%" PRId64 : "%" PRId64, columns[column][each]);
    }
    printf("]}\n");
}

static int receive_all(int count, char **words)
{
    int links = count - 3;
    struct sockaddr_in there = address_of(words[0], words[1]);
    int64_t duration = (int64_t)(atof(words[2]) * (double)SECOND), first = 0;
    static struct noted noted[LINKS];
    struct pollfd watched[LINKS];
    for (int link = 0; link < links; link++) {
        const char *device = words[3 + link];
        watched[link] = (struct pollfd){.fd = open_socket(), .events = POLLIN};
        if (setsockopt(watched[link].fd, SOL_SOCKET, SO_BINDTODEVICE, device,
                       (socklen_t)strlen(device)) != 0 ||
            connect(watched[link].fd, (struct sockaddr *)&there, sizeof there) != 0)
            fail(device);
    }
    int64_t began = clock_now(), last = began;
    while (first ? last - first < duration + AFTERGLOW : last - began < PATIENCE) {
        for (int64_t link = 0; link < links && !first; link++)
            (void)!send(watched[link].fd, &link, sizeof link, 0);
        poll(watched, (nfds_t)links, 100);
        for (int link = 0; link < links; link++)
            while (take(watched[link].fd, &noted[link]))
                first = first ? first : clock_now();
        struct timespec rest = {0, 5 * TICK}; /* the stamps tell the times, so few rounds are enough */
        nanosleep(&rest, NULL);
        last = clock_now();
    }
    for (int link = 0; link < links; link++)
        print_noted(&noted[link]);
    return 0;
}

int main(int count, char **words)
{
    if (count > 5 && count <= 5 + LINKS && strcmp(words[1], "send") == 0)
        return send_all(count - 2, words + 2);
    if (count > 5 && count <= 5 + LINKS && strcmp(words[1], "receive") == 0)
        return receive_all(count - 2, words + 2);
    fprintf(stderr, "usage: blast send PORT SECONDS SIZE RATE…\n"
                    "       blast receive ADDRESS PORT SECONDS DEVICE…\n");
    return 2;
}
