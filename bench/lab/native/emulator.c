/* Carries packets between pairs of TUN devices as the links of a laboratory would, in one process.
 *
 *     modem  wan   --read-->  link "up":   due time  --write-->  internet side
 *     modem  wan  <--write--  link "down": due time  <--read---  internet side
 *
 * One loop waits in ppoll for packets, for the time the next one is due, and for orders. Rounds begin
 * at least QUANTUM apart, which bounds the wake-ups at any load and delays each end by that much at
 * most; a packet after a pause finds the loop waiting and is served at once. In a round every device is
 * read and written BATCH packets at most, so that none starves another; if there was more, the next
 * round begins at once. The program asks for a real-time priority: the little it needs it needs on time.
 *
 * Orders come as lines on standard input, see orders.c. Its end ends the program, so that it does not
 * outlive the laboratory, however that ends. With --replay there are no devices, and time is told.
 */

#define _GNU_SOURCE

#include "lines.h"
#include "orders.h"
#include "text.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define QUANTUM INT64_C(250000) /* ns */

static void obey_all(struct input *input)
{
    input_read(input);
    for (char *text; (text = input_line(input)) != NULL;)
        obey(text);
}

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
            more |= line_read(&lines[each]);
        else if (watched[each].revents)
            lines[each].source = -1; /* the device is gone: do not wake up for it again */
        if (lines[each].link.shape.others_size)
            link_advance(&lines[each].link, monotonic() - zero);
    }
    for (size_t each = 0; each < line_count; each++)
        more |= line_write(&lines[each]);
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
