/* Carries packets between pairs of TUN devices as the links of a laboratory would, in one process.
 *
 *     modem  wan   --read-->  link "up":   due time  --write-->  internet side
 *     modem  wan  <--write--  link "down": due time  <--read---  internet side
 *
 * When a packet is read, link.c settles what becomes of it, on the links' clock: 0 is when they were
 * started. It then lies in its direction's heap until it is due, and is never written before. How late
 * it was then is counted: a laboratory that could not keep up must not be believed.
 *
 * One loop waits in ppoll for packets, for the time the next one is due, and for orders. Rounds begin
 * at least QUANTUM apart, which bounds the wake-ups at any load and delays each end by that much at
 * most; a packet after a pause finds the loop waiting and is served at once. In a round every device is
 * read and written BATCH packets at most, so that none starves another; if there was more, the next
 * round begins at once. The program asks for a real-time priority: the little it needs it needs on time.
 *
 * Orders come as lines on standard input; each is answered by one line of JSON, {"error": …} if wrong:
 *
 *     link MTU NAMESPACE DEVICE NAMESPACE DEVICE    a further link: the modem's end, the internet's
 *     set LINK up|down ORDER…                       see shape.c
 *     start                                         what was set so far is the links' nature; time 0 is now
 *     restart                                       undo what was set since, empty all books; time 0 is now
 *     ledger LINK up|down        lateness        traffic
 *
 * With --replay there are no devices, and time is told:
 *
 *     link MTU        packet LINK up|down SIZE NOW        advance LINK up|down NOW
 *
 * The end of input ends the program, so it does not outlive the laboratory, however that ends.
 */

#define _GNU_SOURCE

#include "flight.h"
#include "shape.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define QUANTUM INT64_C(250000)     /* ns */
#define BATCH 64                    /* packets of one device in one round */
#define MEMORY ((size_t)256 << 20)  /* bytes of packets under way */
#define LATENESS_STEP INT64_C(10000) /* ns of one step of the histogram of lateness */
#define LATENESS_STEPS 20000        /* the last has all that was later */
#define LINKS 64

enum { DOWN, UP };

/* One direction: what is read from `source` is written to `sink` later. */
struct line {
    struct link link;
    struct shape nature; /* what the shape was at the start */
    int source, sink;
    struct flight flight;
    int64_t delivered;
    int64_t refused; /* by the device, which is down */
    int64_t overrun; /* dropped because MEMORY was full */
};

static struct line *lines; /* two for each link: down, up */
static size_t line_count;
static struct pool pool = {.limit = MEMORY};
static int64_t zero; /* of the links' clock, on the monotonic one */
static bool started;
static struct answer answer;

static struct {
    int64_t steps[LATENESS_STEPS];
    int64_t count, longest;
    int64_t rounds, longest_round; /* work between two waits */
} lateness;

static int64_t monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

/* Taking packets in */

static void launch(struct line *line, uint8_t *bytes, int64_t size, const struct arrival *arrival)
{
    struct packet packet = {.due = zero + arrival->time,
                            .bytes = bytes,
                            .size = (uint32_t)size,
                            .damaged = arrival->damage >= 0};
    if (packet.damaged)
        bytes[arrival->damage / 8] ^= (uint8_t)(1 << arrival->damage % 8);
    flight_add(&line->flight, packet);
}

static void take_in(struct line *line, uint8_t *bytes, int64_t size)
{
    struct arrival arrivals[2];
    int count = link_transmit(&line->link, size, monotonic() - zero, arrivals);
    if (count == 2) {
        uint8_t *copy = pool_take(&pool);
        if (copy != NULL) {
            memcpy(copy, bytes, (size_t)size);
            launch(line, copy, size, &arrivals[1]);
        } else {
            line->overrun++;
        }
    }
    if (count)
        launch(line, bytes, size, &arrivals[0]);
    else
        pool_give(&pool, bytes);
}

/* Reads what stands in the device; true when there may be more. */
static bool read_device(struct line *line)
{
    static uint8_t nowhere[65536];
    for (int count = 0; count < BATCH; count++) {
        uint8_t *bytes = pool_take(&pool);
        ssize_t size = read(line->source, bytes ? bytes : nowhere, pool.slot);
        if (size > 0 && bytes != NULL) {
            take_in(line, bytes, size);
            continue;
        }
        if (bytes != NULL)
            pool_give(&pool, bytes);
        if (size <= 0)
            return false;
        line->overrun++;
    }
    return true;
}

/* Giving packets out */

static void count_lateness(int64_t late)
{
    int64_t step = late / LATENESS_STEP;
    lateness.steps[step < LATENESS_STEPS ? step : LATENESS_STEPS - 1]++;
    lateness.count++;
    if (late > lateness.longest)
        lateness.longest = late;
}

/* Writes what is due; true when there is more. */
static bool write_due(struct line *line)
{
    for (int count = 0; line->flight.count; count++) {
        int64_t late = monotonic() - line->flight.heap[0].due;
        if (late < 0)
            return false;
        if (count == BATCH)
            return true;
        struct packet packet = flight_take(&line->flight);
        count_lateness(late);
        if (write(line->sink, packet.bytes, packet.size) >= 0)
            line->delivered++;
        else if (!packet.damaged)
            line->refused++;
        pool_give(&pool, packet.bytes);
    }
    return false;
}

/* Starting */

static void restart(void)
{
    zero = monotonic();
    memset(&lateness, 0, sizeof lateness);
    for (size_t each = 0; each < line_count; each++) {
        struct line *line = &lines[each];
        line->link.shape = line->nature;
        line->delivered = line->refused = line->overrun = 0;
        link_restart(&line->link);
    }
}

static void start(void)
{
    for (size_t each = 0; each < line_count; each++)
        lines[each].nature = lines[each].link.shape;
    started = true;
    restart();
}

static void add_link(int64_t mtu, int modem, int internet)
{
    lines = allocate(lines, line_count + 2, sizeof *lines);
    for (int direction = DOWN; direction <= UP; direction++) {
        struct line *line = &lines[line_count++];
        memset(line, 0, sizeof *line);
        line->source = direction == DOWN ? internet : modem;
        line->sink = direction == DOWN ? modem : internet;
        line->link.mtu = mtu;
        line->link.up = true;
        line->link.shape.rate = 8000000;
        line->link.shape.queue = line->link.shape.queue_bytes = UNLIMITED;
    }
    size_t slot = ((size_t)mtu + 64) / 64 * 64; /* one byte more at least: what fills it is too big */
    if (slot > pool.slot)
        pool.slot = slot;
}

/* Makes a TUN device inside a named namespace. Returns -1 and an answer when that is impossible. */
static int open_device(const char *namespace, const char *device)
{
    char path[256];
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    snprintf(path, sizeof path, "/run/netns/%s", namespace);
    int inside = open(path, O_RDONLY | O_CLOEXEC);
    if (inside < 0 || setns(inside, CLONE_NEWNET) != 0) {
        answer_add(&answer, "{\"error\": \"cannot enter the namespace %s: %s\"}", namespace,
                   strerror(errno));
        return -1;
    }
    close(inside);
    int descriptor = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0) {
        answer_add(&answer,
                   "{\"error\": \"cannot open /dev/net/tun: %s; links are made of TUN devices, "
                   "so the kernel needs the module tun\"}",
                   strerror(errno));
        return -1;
    }
    snprintf(request.ifr_name, sizeof request.ifr_name, "%.15s", device);
    if (ioctl(descriptor, TUNSETIFF, &request) != 0) {
        answer_add(&answer, "{\"error\": \"cannot make the TUN device %s in %s: %s\"}", device,
                   namespace, strerror(errno));
        return -1;
    }
    return descriptor;
}

/* Orders */

static void complain(const char *what)
{
    answer.length = 0;
    answer_add(&answer, "{\"error\": \"%s\"}", what);
}

static struct line *named_line(struct words *words)
{
    int64_t number = words_number(words, 0, LINKS - 1);
    const char *direction = words_take(words);
    size_t place = 2 * (size_t)number;
    if (strcmp(direction, "up") == 0)
        place++;
    else if (strcmp(direction, "down") != 0)
        words->wrong = true;
    if (place >= line_count)
        words->wrong = true;
    return words->wrong ? NULL : &lines[place];
}

static void order_link(struct words *words)
{
    int64_t mtu = words_number(words, 1, 65535);
    if (words->wrong || started || line_count == 2 * LINKS) {
        words->wrong = true;
        return;
    }
    int modem = -1, internet = -1;
    if (words_left(words)) {
        const char *namespace = words_take(words);
        modem = open_device(namespace, words_take(words));
        if (modem < 0)
            return;
        namespace = words_take(words);
        internet = open_device(namespace, words_take(words));
        if (internet < 0)
            return;
    }
    add_link(mtu, modem, internet);
}

static void order_set(struct words *words)
{
    struct line *line = named_line(words);
    const char *verb = words_take(words);
    if (line != NULL && !shape_order(&line->link, verb, words))
        words->wrong = true;
}

static void answer_ledger(struct words *words)
{
    struct line *line = named_line(words);
    if (line == NULL)
        return;
    if (started && line->source >= 0)
        link_advance(&line->link, monotonic() - zero);
    const struct ledger *ledger = &line->link.ledger;
    answer_add(&answer, "{\"counters\": ");
    answer_numbers(&answer, ledger->counters, COUNTERS);
    answer_add(&answer, ", \"used\": ");
    answer_numbers(&answer, ledger->used.bytes, ledger->used.count);
    answer_add(&answer, ", \"foreign\": ");
    answer_numbers(&answer, ledger->foreign.bytes, ledger->foreign.count);
    answer_add(&answer, ", \"longest\": ");
    answer_numbers(&answer, ledger->longest.bytes, ledger->longest.count);
    answer_add(&answer, ", \"waits\": [");
    const char *between = "";
    for (int64_t step = 0; step < WAITS; step++) {
        if (ledger->waits[step]) {
            answer_add(&answer, "%s[%" PRId64 ",%" PRId64 "]", between, step, ledger->waits[step]);
            between = ",";
        }
    }
    answer_add(&answer, "]}");
}

static void answer_lateness(void)
{
    answer_add(&answer,
               "{\"count\": %" PRId64 ", \"longest\": %" PRId64 ", \"rounds\": %" PRId64
               ", \"longest_round\": %" PRId64 ", \"step\": %" PRId64 ", \"steps\": [",
               lateness.count, lateness.longest, lateness.rounds, lateness.longest_round,
               LATENESS_STEP);
    const char *between = "";
    for (int64_t step = 0; step < LATENESS_STEPS; step++) {
        if (lateness.steps[step]) {
            answer_add(&answer, "%s[%" PRId64 ",%" PRId64 "]", between, step, lateness.steps[step]);
            between = ",";
        }
    }
    answer_add(&answer, "]}");
}

static void answer_traffic(void)
{
    answer_add(&answer, "[");
    for (size_t each = 0; each < line_count; each++)
        answer_add(&answer,
                   "%s{\"carried\": %" PRId64 ", \"refused\": %" PRId64 ", \"overrun\": %" PRId64
                   ", \"lost\": %" PRId64 "}",
                   each ? ", " : "", lines[each].delivered, lines[each].refused,
                   lines[each].overrun,
                   lines[each].link.ledger.counters[LOST] +
                       lines[each].link.ledger.counters[SWALLOWED]);
    answer_add(&answer, "]");
}

static void replay_packet(struct words *words)
{
    struct line *line = named_line(words);
    int64_t size = words_number(words, 1, 65535);
    int64_t now = words_number(words, 0, INT64_MAX);
    if (words->wrong || line->source >= 0) {
        words->wrong = true;
        return;
    }
    struct arrival arrivals[2];
    int count = link_transmit(&line->link, size, now, arrivals);
    answer_add(&answer, "[");
    for (int each = 0; each < count; each++)
        answer_add(&answer, "%s[%" PRId64 ",%" PRId64 "]", each ? "," : "", arrivals[each].time,
                   arrivals[each].damage);
    answer_add(&answer, "]");
}

static void replay_advance(struct words *words)
{
    struct line *line = named_line(words);
    int64_t now = words_number(words, 0, INT64_MAX);
    if (!words->wrong)
        link_advance(&line->link, now);
}

static void obey(char *text)
{
    struct words words = {.rest = text};
    const char *verb = words_take(&words);
    if (strcmp(verb, "link") == 0)
        order_link(&words);
    else if (strcmp(verb, "set") == 0)
        order_set(&words);
    else if (strcmp(verb, "start") == 0 && !started)
        start();
    else if (strcmp(verb, "restart") == 0 && started)
        restart();
    else if (strcmp(verb, "ledger") == 0)
        answer_ledger(&words);
    else if (strcmp(verb, "lateness") == 0)
        answer_lateness();
    else if (strcmp(verb, "traffic") == 0)
        answer_traffic();
    else if (strcmp(verb, "packet") == 0)
        replay_packet(&words);
    else if (strcmp(verb, "advance") == 0)
        replay_advance(&words);
    else
        words.wrong = true;
    if (words.wrong)
        complain("there is no such order, or its numbers are wrong");
    else if (!answer.length)
        answer_add(&answer, "{\"zero\": %" PRId64 "}", zero);
    answer_send(&answer);
}

static void obey_all(struct input *input)
{
    input_read(input);
    for (char *text; (text = input_line(input)) != NULL;)
        obey(text);
}

/* The loop */

/* When the loop must wake up even if nothing comes: the next packet is due, or others go on. */
static int64_t next_event(int64_t now)
{
    int64_t earliest = INT64_MAX;
    for (size_t each = 0; each < line_count; each++) {
        const struct line *line = &lines[each];
        if (line->flight.count && line->flight.heap[0].due < earliest)
            earliest = line->flight.heap[0].due;
        if (started && line->link.shape.others_size && now + BIN < earliest)
            earliest = now + BIN; /* so that a long pause does not end in a long computation */
    }
    return earliest;
}

static void await(struct pollfd *watched, size_t count, int64_t until)
{
    struct timespec patience, *limit = NULL;
    if (until != INT64_MAX) {
        int64_t left = until - monotonic();
        if (left < 0)
            left = 0;
        patience = (struct timespec){left / SECOND, left % SECOND};
        limit = &patience;
    }
    if (ppoll(watched, count, limit, NULL) < 0)
        for (size_t each = 0; each < count; each++)
            watched[each].revents = 0;
}

static void rest_until(int64_t time)
{
    struct timespec until = {time / SECOND, time % SECOND};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

/* Serves all devices once; true when some have more. */
static bool serve_all(const struct pollfd *watched)
{
    bool more = false;
    for (size_t each = 0; each < line_count && started; each++) {
        if (watched[each].revents & POLLIN)
            more |= read_device(&lines[each]);
        if (lines[each].link.shape.others_size)
            link_advance(&lines[each].link, monotonic() - zero);
    }
    for (size_t each = 0; each < line_count; each++)
        more |= write_due(&lines[each]);
    return more;
}

static void watch(struct pollfd *watched)
{
    for (size_t each = 0; each < line_count; each++)
        watched[each] = (struct pollfd){.fd = started ? lines[each].source : -1, .events = POLLIN};
    watched[line_count] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
}

static void carry(struct input *input)
{
    struct pollfd watched[2 * LINKS + 1];
    int64_t began = monotonic();
    bool more = false;
    while (!input->ended) {
        watch(watched);
        await(watched, line_count + 1, more ? 0 : next_event(monotonic()));
        int64_t now = monotonic();
        if (!more && now < began + QUANTUM) {
            rest_until(began + QUANTUM);
            await(watched, line_count + 1, 0);
            now = monotonic();
        }
        began = now;
        more = serve_all(watched);
        lateness.rounds++;
        int64_t took = monotonic() - began;
        if (took > lateness.longest_round)
            lateness.longest_round = took;
        if (watched[line_count].revents)
            obey_all(input);
    }
}

/* Asks the kernel to run this program when it is time. What is refused it can do without. */
static void be_punctual(void)
{
    struct sched_param first = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_FIFO, &first) != 0)
        (void)!setpriority(PRIO_PROCESS, 0, -15);
    prctl(PR_SET_TIMERSLACK, 1000UL);
    mlockall(MCL_CURRENT | MCL_FUTURE);
}

int main(int count, char **arguments)
{
    static struct input input = {.descriptor = STDIN_FILENO};
    signal(SIGINT, SIG_IGN);
    if (count > 1 && strcmp(arguments[1], "--replay") == 0) {
        while (!input.ended)
            obey_all(&input);
        return 0;
    }
    be_punctual();
    carry(&input);
    return 0;
}
