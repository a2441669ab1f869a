/* The directions of all links of a laboratory, and the packets in them. See lines.c. */

#ifndef LINES_H
#define LINES_H

#include "flight.h"
#include "link.h"

#define LINKS 64
#define LATENESS_STEP INT64_C(10000) /* ns of one step of the histogram of lateness */
#define LATENESS_STEPS 20000         /* the last has all that was later */

enum { DOWN, UP };

/* One direction: what is read from `source` is written to `sink` later. */
struct line {
    struct link link;
    struct shape nature; /* what the shape was at the start */
    int source, sink;    /* descriptors of devices; -1 without */
    struct flight flight;
    int64_t delivered;
    int64_t refused; /* by the device, which is down */
    int64_t overrun; /* dropped because the memory for packets was full */
};

struct lateness {
    int64_t steps[LATENESS_STEPS];
    int64_t count, longest;
    int64_t rounds, longest_round; /* work between two waits */
};

extern struct line *lines; /* two for each link: down, up */
extern size_t line_count;
extern int64_t zero; /* of the links' clock, on the monotonic one */
extern bool started;
extern struct lateness lateness;

int64_t monotonic(void);

/* A further link, between two descriptors or none (-1). Only before the start. */
void lines_add(int64_t mtu, int modem, int internet);

/* What was ordered so far is the links' nature; their lives begin. */
void lines_start(void);

/* Undoes what was changed since the start; the links' lives begin again, with empty books. */
void lines_restart(void);

/* Reads what stands in the device, or a batch of it; true when there may be more. */
bool line_read(struct line *line);

/* Writes what is due, or a batch of it; true when there is more. */
bool line_write(struct line *line);

#endif
