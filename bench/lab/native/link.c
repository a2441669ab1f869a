/* What becomes of a packet on one direction of a link: a transcription of bench/links.
 *
 * Every function here names the Python one it transcribes, and the differential tests hold the two
 * against each other number by number; the reasons are written there. Change both together.
 *
 * All is in integers of nanoseconds, bytes and 2^-53; Python has turned the shape into those already.
 * A size is at least 1 and at most 65535, and times stay far below 2^63, so that plain products of
 * both with rates fit; where a time may be `never`, 128 bits are used.
 */

#include "link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN UINT64_C(0x9E3779B97F4A7C15)
#define FOREIGN UINT64_C(0x5851F42D4C957F2D)
#define NEVER (INT64_C(1) << 62)

void *allocate(void *old, size_t count, size_t size)
{
    void *memory = reallocarray(old, count ? count : 1, size);
    if (memory == NULL) {
        fprintf(stderr, "the link emulator is out of memory\n");
        exit(1);
    }
    return memory;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t greatest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* draws.Draws.next */
static uint64_t draw(uint64_t *state)
{
    uint64_t mixed = *state += GOLDEN;
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94D049BB133111EB);
    return mixed ^ (mixed >> 31);
}

static bool chance(uint64_t *state, uint64_t threshold)
{
    return draw(state) >> 11 < threshold;
}

/* ledger.Ledger.book and book_foreign, and the growth of their lists */

static int64_t *bin(struct bins *bins, int64_t time)
{
    int64_t number = time / BIN;
    if (number >= BINS_AT_MOST)
        return NULL;
    if ((size_t)number >= bins->room) {
        bins->room = (size_t)greatest(2 * (int64_t)bins->room, number + 1024);
        bins->bytes = allocate(bins->bytes, bins->room, sizeof *bins->bytes);
    }
    while ((size_t)number >= bins->count)
        bins->bytes[bins->count++] = 0;
    return &bins->bytes[number];
}

static void book(struct ledger *ledger, int64_t finish, int64_t wait, int64_t size)
{
    int64_t *used = bin(&ledger->used, finish);
    int64_t *longest = bin(&ledger->longest, finish);
    if (used != NULL)
        *used += size;
    if (longest != NULL)
        *longest = greatest(*longest, wait);
    ledger->waits[least(wait / WAIT, WAITS - 1)]++;
}

static void book_foreign(struct ledger *ledger, int64_t finish, int64_t size)
{
    int64_t *foreign = bin(&ledger->foreign, finish);
    if (foreign != NULL)
        *foreign += size;
}

static void clear_ledger(struct ledger *ledger)
{
    memset(ledger->counters, 0, sizeof ledger->counters);
    memset(ledger->waits, 0, sizeof ledger->waits);
    ledger->used.count = ledger->foreign.count = ledger->longest.count = 0;
}

/* rates.Steady.serve */
static void serve_steady(const struct shape *shape, int64_t *place, int64_t now, int64_t size,
                         int64_t *finish)
{
    *finish = *place = greatest(now, *place) + divide_up(size * BITS, shape->rate);
}

/* rates.Stepped._locate */
static size_t locate(const struct shape *shape, int64_t time, int64_t *end)
{
    time += shape->offset;
    int64_t base = shape->period ? time - time % shape->period : 0;
    size_t low = 0, high = shape->count; /* bisect_right(times, time - base) */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (time - base < shape->steps[middle].time)
            high = middle;
        else
            low = middle + 1;
    }
    size_t number = low - 1;
    if (number + 1 < shape->count)
        *end = base + shape->steps[number + 1].time;
    else
        *end = shape->period ? base + shape->period : NEVER;
    *end -= shape->offset;
    return number;
}

/* rates.Stepped.serve */
static void serve_stepped(const struct shape *shape, int64_t *place, int64_t now, int64_t size,
                          int64_t *finish)
{
    int64_t time = greatest(now, *place);
    int64_t need = size * BITS;
    for (;;) {
        int64_t end;
        int64_t rate = shape->steps[locate(shape, time, &end)].rate;
        if (rate) {
            __int128 possible = (__int128)(end - time) * rate;
            if (possible >= need) {
                *finish = *place = time + divide_up(need, rate);
                return;
            }
            need -= (int64_t)possible;
        }
        time = end;
    }
}

/* bisect.bisect_left */
static int64_t first_at_or_after(const struct shape *shape, int64_t milliseconds)
{
    size_t low = 0, high = shape->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (shape->times[middle] < milliseconds)
            low = middle + 1;
        else
            high = middle;
    }
    return (int64_t)low;
}

/* rates.Recorded._time */
static int64_t opportunity_time(const struct shape *shape, int64_t number)
{
    int64_t count = (int64_t)shape->count;
    number += shape->first;
    return number / count * shape->period + shape->times[number % count] * MILLISECOND -
           shape->offset;
}

/* rates.Recorded._number */
static int64_t opportunity_number(const struct shape *shape, int64_t time)
{
    time += shape->offset;
    if (time <= 0)
        return 0;
    int64_t rounds = (time - 1) / shape->period;
    int64_t rest = (time - 1) % shape->period;
    return rounds * (int64_t)shape->count + first_at_or_after(shape, rest / MILLISECOND + 1) -
           shape->first;
}

/* rates.Recorded.serve */
static void serve_recorded(const struct shape *shape, int64_t *place, int64_t now, int64_t size,
                           int64_t *finish)
{
    int64_t start = opportunity_number(shape, now) * shape->lump;
    *place = greatest(*place, start) + size;
    *finish = opportunity_time(shape, (*place - 1) / shape->lump);
}

/* Bottleneck.serve: moves *place behind the packet and says when it has passed */
static int64_t serve(const struct shape *shape, int64_t *place, int64_t now, int64_t size)
{
    int64_t finish = 0;
    if (shape->kind == STEADY)
        serve_steady(shape, place, now, size, &finish);
    else if (shape->kind == STEPPED)
        serve_stepped(shape, place, now, size, &finish);
    else
        serve_recorded(shape, place, now, size, &finish);
    return finish;
}

/* The deque link.Link._standing, as a ring whose room is a power of two */

static void stand(struct link *link, int64_t finish, int64_t size)
{
    if (link->ring_count == link->ring_room) {
        size_t room = link->ring_room ? 2 * link->ring_room : 256;
        struct standing *ring = allocate(NULL, room, sizeof *ring);
        for (size_t each = 0; each < link->ring_count; each++)
            ring[each] = link->ring[(link->ring_first + each) & (link->ring_room - 1)];
        free(link->ring);
        link->ring = ring;
        link->ring_room = room;
        link->ring_first = 0;
    }
    size_t last = (link->ring_first + link->ring_count++) & (link->ring_room - 1);
    link->ring[last] = (struct standing){finish, size};
    link->backlog += size;
}

static void forget_passed(struct link *link, int64_t now)
{
    while (link->ring_count && link->ring[link->ring_first].finish <= now) {
        link->backlog -= link->ring[link->ring_first].size;
        link->ring_first = (link->ring_first + 1) & (link->ring_room - 1);
        link->ring_count--;
    }
}

static void forget_last(struct link *link)
{
    size_t last = (link->ring_first + --link->ring_count) & (link->ring_room - 1);
    link->backlog -= link->ring[last].size;
}

/* link.Link._enqueue */
static int64_t enqueue(struct link *link, int64_t size, int64_t now)
{
    const struct shape *shape = &link->shape;
    int64_t place = link->place;
    int64_t finish = serve(shape, &place, now, size);
    bool counted = shape->queue_bytes != UNLIMITED;
    if (counted) {
        forget_passed(link, now);
        if (link->ring_count && link->backlog + size > shape->queue_bytes)
            return -1;
        stand(link, finish, size);
    }
    if (shape->queue != UNLIMITED && finish - now > shape->queue) {
        int64_t fresh = 0;
        if (finish > serve(shape, &fresh, now, size)) {
            if (counted)
                forget_last(link);
            return -1;
        }
    }
    link->place = place;
    return finish;
}

/* link.Link._conforms */
static bool conforms(struct link *link, int64_t size, int64_t now)
{
    int64_t burst = link->shape.police_burst * BITS, cost = size * BITS;
    __int128 tokens =
        link->tokens + (__int128)(now - link->policed) * link->shape.police_rate;
    link->tokens = tokens > burst ? burst : (int64_t)tokens;
    link->policed = now;
    if (link->tokens < cost)
        return false;
    link->tokens -= cost;
    return true;
}

/* link.Link._out */
static bool out(const struct shape *shape, int64_t time)
{
    if (shape->outage_period)
        time %= shape->outage_period;
    for (size_t each = 0; each < shape->window_count; each++)
        if (shape->windows[2 * each] <= time && time < shape->windows[2 * each + 1])
            return true;
    return false;
}

/* link.Others._period */
static int64_t others_period(struct link *link, int64_t mean)
{
    return mean / 2 + (int64_t)(draw(&link->others_draws) % (uint64_t)mean);
}

/* link.Others.until and link.Link.advance */
void link_advance(struct link *link, int64_t now)
{
    const struct shape *shape = &link->shape;
    if (!shape->others_size)
        return;
    while (link->others_next <= now) {
        if (shape->others_on && link->others_next >= link->others_end) {
            link->others_next = link->others_end + others_period(link, shape->others_off);
            link->others_end = link->others_next + others_period(link, shape->others_on);
            continue;
        }
        if (!out(shape, link->others_next)) {
            int64_t finish = enqueue(link, shape->others_size, link->others_next);
            if (finish >= 0 && !out(shape, finish))
                book_foreign(&link->ledger, finish, shape->others_size);
        }
        link->others_next += shape->others_between;
    }
}

/* link.LosingMasked.next */
static bool masked(struct link *link)
{
    int64_t number = link->number++;
    if (link->shape.mask_period)
        number %= link->shape.mask_period;
    size_t low = 0, high = link->shape.mask_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (link->shape.mask[middle] == number)
            return true;
        if (link->shape.mask[middle] < number)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* link.Losing.next, LosingBursts.next, LosingMasked.next */
static bool loses(struct link *link)
{
    const struct shape *shape = &link->shape;
    switch (shape->losing) {
    case LOSSLESS:
        return false;
    case RANDOM:
        return chance(&link->draws, shape->loss);
    case BURSTS:
        if (chance(&link->draws, shape->leave[link->bad]))
            link->bad = !link->bad;
        return chance(&link->draws, shape->lose[link->bad]);
    case MASKED:
        return masked(link);
    }
    return false;
}

/* link.Link._propagate */
static int propagate(struct link *link, int64_t size, int64_t finish, struct arrival arrivals[2])
{
    const struct shape *shape = &link->shape;
    int64_t *counters = link->ledger.counters;
    int64_t delay = shape->delay;
    uint64_t extra_loss = 0;
    if (shape->kind == STEPPED) {
        int64_t end;
        const struct step *step = &shape->steps[locate(shape, finish, &end)];
        delay += step->delay;
        extra_loss = step->loss;
    }
    if (loses(link) || (extra_loss && chance(&link->draws, extra_loss))) {
        counters[LOST]++;
        return 0;
    }
    int64_t damage = -1;
    if (shape->corrupt && chance(&link->draws, shape->corrupt)) {
        counters[CORRUPTED]++;
        damage = (int64_t)(draw(&link->draws) % (uint64_t)(8 * size));
    }
    bool twice = shape->duplicate && chance(&link->draws, shape->duplicate);
    int64_t time = finish + delay;
    if (shape->jitter) {
        if (shape->reorder || finish >= link->swing_end) {
            uint64_t width = 2 * (uint64_t)shape->jitter + 1;
            link->swing = (int64_t)(draw(&link->draws) % width) - shape->jitter;
            link->swing_end = finish + SWING;
        }
        time = greatest(finish, time + link->swing);
    }
    if (!shape->reorder)
        link->last_arrival = time = greatest(time, link->last_arrival);
    counters[CARRIED] += size;
    arrivals[0] = arrivals[1] = (struct arrival){time, damage};
    counters[DUPLICATED] += twice;
    return twice ? 2 : 1;
}

/* link.Link.transmit */
int link_transmit(struct link *link, int64_t size, int64_t now, struct arrival arrivals[2])
{
    const struct shape *shape = &link->shape;
    int64_t *counters = link->ledger.counters;
    counters[PACKETS]++;
    link_advance(link, now);
    if (size > link->mtu) {
        counters[OVERSIZE]++;
        return 0;
    }
    if (!link->up || out(shape, now)) {
        counters[SWALLOWED]++;
        return 0;
    }
    if (shape->police_rate && !conforms(link, size, now)) {
        counters[POLICED]++;
        return 0;
    }
    int64_t finish = enqueue(link, size, now);
    if (finish < 0) {
        counters[FULL]++;
        return 0;
    }
    book(&link->ledger, finish, finish - now, size);
    if (out(shape, finish)) {
        counters[SWALLOWED]++;
        return 0;
    }
    return propagate(link, size, finish, arrivals);
}

/* link.Link.__init__ and link.Others.__init__ */
void link_restart(struct link *link)
{
    clear_ledger(&link->ledger);
    link->up = true;
    link->draws = link->seed;
    link->place = link->backlog = link->last_arrival = link->number = 0;
    link->swing = link->swing_end = 0;
    link->tokens = link->shape.police_burst * BITS;
    link->policed = 0;
    link->ring_first = link->ring_count = 0;
    link->bad = false;
    if (link->shape.kind == RECORDED)
        link->shape.first =
            first_at_or_after(&link->shape, divide_up(link->shape.offset, MILLISECOND));
    link->others_draws = link->seed ^ FOREIGN;
    link->others_next = link->others_end = 0;
    if (link->shape.others_on)
        link->others_end = others_period(link, link->shape.others_on);
}
