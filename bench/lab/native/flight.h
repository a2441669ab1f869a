/* Packets on their way, ordered by when they are due, and the memory they lie in. */

#ifndef FLIGHT_H
#define FLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct packet {
    int64_t due;
    uint64_t serial; /* equal times come out in the order they went in */
    uint8_t *bytes;
    uint32_t size;
    bool damaged;
};

/* A binary heap. Packets of a link that does not reorder go in at its end and never move up. */
struct flight {
    struct packet *heap;
    size_t count, room;
    uint64_t serial;
};

void flight_add(struct flight *flight, struct packet packet);
struct packet flight_take(struct flight *flight);

/* Buffers of one size, at most `limit` bytes of them; given back ones are used again first. */
struct pool {
    size_t slot, limit, taken;
    void *spare;
};

/* Returns NULL when the limit is reached. */
uint8_t *pool_take(struct pool *pool);
void pool_give(struct pool *pool, uint8_t *bytes);

#endif
