/* One direction of a link, as integers: the C side of bench/links. See link.c. */

#ifndef LINK_H
#define LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECOND INT64_C(1000000000)
#define BITS (8 * SECOND)
#define MILLISECOND INT64_C(1000000)
#define SWING INT64_C(10000000) /* ns for which packets in order share one draw of jitter */
#define BIN INT64_C(100000000) /* ns of one bin of the timeline */
#define WAIT INT64_C(1000000)  /* ns of one step of the histogram of waits */
#define WAITS 16384
#define BINS_AT_MOST (1 << 20) /* 29 hours: what passes later is counted, but in no bin */
#define UNLIMITED INT64_C(-1)

struct step {
    int64_t time, rate, delay;
    uint64_t loss; /* of 2^53 */
};

/* What a direction is like. Arrays belong to whoever describes it and outlive it. */
struct shape {
    enum { STEADY, STEPPED, RECORDED } kind;
    int64_t rate; /* steady: bit/s */
    int64_t offset;
    int64_t period; /* stepped: 0 is none */
    int64_t lump;   /* recorded: bytes of one opportunity */
    int64_t first;  /* recorded: the first opportunity at or after offset; link_restart sets it */
    const struct step *steps;
    const int64_t *times; /* recorded: in ms */
    size_t count; /* of steps or times */

    int64_t queue, queue_bytes; /* ns and bytes, or UNLIMITED */
    int64_t delay, jitter;
    bool reorder;
    uint64_t duplicate, corrupt; /* of 2^53 */

    enum { LOSSLESS, RANDOM, BURSTS, MASKED } losing;
    uint64_t loss;     /* random */
    uint64_t leave[2]; /* bursts: leaving the good and the bad state */
    uint64_t lose[2];  /* bursts: losing in them */
    const int64_t *mask;
    size_t mask_count;
    int64_t mask_period; /* 0 is none */

    int64_t police_rate, police_burst; /* bit/s, 0 is none; bytes */
    int64_t others_size, others_between, others_on, others_off;
    const int64_t *windows; /* start, end, start, end, … */
    size_t window_count;
    int64_t outage_period; /* 0 is none */
};

enum counter {
    PACKETS,
    CARRIED,
    FULL,
    POLICED,
    LOST,
    SWALLOWED,
    OVERSIZE,
    CORRUPTED,
    DUPLICATED,
    COUNTERS
};

struct bins {
    int64_t *bytes;
    size_t count, room;
};

struct ledger {
    int64_t counters[COUNTERS];
    struct bins used, foreign, longest;
    int64_t waits[WAITS];
};

struct standing {
    int64_t finish, size;
};

struct link {
    struct shape shape;
    uint64_t seed;
    int64_t mtu;
    bool up;
    struct ledger ledger;

    uint64_t draws;
    int64_t place;
    struct standing *ring; /* what stands in the queue, for the limit in bytes */
    size_t ring_room, ring_first, ring_count;
    int64_t backlog;
    int64_t last_arrival;
    int64_t swing, swing_end;
    int64_t tokens, policed;
    bool bad;
    int64_t number; /* of the next packet that the mask is asked about */
    uint64_t others_draws;
    int64_t others_next, others_end;
};

struct arrival {
    int64_t time;
    int64_t damage; /* the bit that is flipped, or -1 */
};

/* Begins the link's life: time 0, all draws and books fresh; shape, seed and mtu stay. */
void link_restart(struct link *link);

/* A packet comes; returns how many arrivals (0 to 2) it has. `now` never falls. */
int link_transmit(struct link *link, int64_t size, int64_t now, struct arrival arrivals[2]);

/* Lets other people's traffic go on until now. */
void link_advance(struct link *link, int64_t now);

/* malloc and realloc that end the program with a sentence when there is no memory. */
void *allocate(void *old, size_t count, size_t size);

#endif
