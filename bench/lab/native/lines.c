/* From a device into a link's hands, and to the other device when it is time.
 *
 * When a packet is read, link.c settles what becomes of it, on the links' clock: 0 is when they were
 * started. It then lies in its direction's heap until it is due, and is never written before. How late
 * it was then is counted: a laboratory that could not keep up must not be believed. Packets under way
 * take MEMORY bytes at most; what comes when they are taken is dropped, and counted.
 */

#include "lines.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64                   /* packets of one device in one round, so that none starves another */
#define MEMORY ((size_t)256 << 20) /* bytes */

struct line *lines;
size_t line_count;
int64_t zero;
bool started;
struct lateness lateness;

static struct pool pool = {.limit = MEMORY};

int64_t monotonic(void)
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

bool line_read(struct line *line)
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

bool line_write(struct line *line)
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

void lines_restart(void)
{
    zero = monotonic();
    memset(&lateness, 0, sizeof lateness);
    for (size_t each = 0; each < line_count; each++) {
        struct line *line = &lines[each];
        line->link.shape = line->nature;
        line->delivered = line->refused = line->overrun = 0;
        while (line->flight.count)
            pool_give(&pool, flight_take(&line->flight).bytes);
        link_restart(&line->link);
    }
}

void lines_start(void)
{
    for (size_t each = 0; each < line_count; each++)
        lines[each].nature = lines[each].link.shape;
    started = true;
    lines_restart();
}

void lines_add(int64_t mtu, int modem, int internet)
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
