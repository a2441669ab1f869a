/* Orders come as lines on standard input; each is answered by one line of JSON, {"error": …} if wrong:
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
 */

#define _GNU_SOURCE

#include "orders.h"
#include "lines.h"
#include "shape.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static struct answer answer;

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
    lines_add(mtu, modem, internet);
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

void obey(char *text)
{
    struct words words = {.rest = text};
    const char *verb = words_take(&words);
    if (strcmp(verb, "link") == 0)
        order_link(&words);
    else if (strcmp(verb, "set") == 0)
        order_set(&words);
    else if (strcmp(verb, "start") == 0 && !started)
        lines_start();
    else if (strcmp(verb, "restart") == 0 && started)
        lines_restart();
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
