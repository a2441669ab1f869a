#include "flight.h"
#include "link.h"

#include <string.h>

#define SLOTS_AT_ONCE 64

static bool before(const struct packet *a, const struct packet *b)
{
    return a->due != b->due ? a->due < b->due : a->serial < b->serial;
}

void flight_add(struct flight *flight, struct packet packet)
{
    if (flight->count == flight->room) {
        flight->room = flight->room ? 2 * flight->room : 256;
        flight->heap = allocate(flight->heap, flight->room, sizeof packet);
    }
    packet.serial = flight->serial++;
    size_t place = flight->count++;
    while (place && before(&packet, &flight->heap[(place - 1) / 2])) {
        flight->heap[place] = flight->heap[(place - 1) / 2];
        place = (place - 1) / 2;
    }
    flight->heap[place] = packet;
}

struct packet flight_take(struct flight *flight)
{
    struct packet first = flight->heap[0];
    struct packet last = flight->heap[--flight->count];
    size_t place = 0;
    for (;;) {
        size_t child = 2 * place + 1;
        if (child >= flight->count)
            break;
        if (child + 1 < flight->count && before(&flight->heap[child + 1], &flight->heap[child]))
            child++;
        if (!before(&flight->heap[child], &last))
            break;
        flight->heap[place] = flight->heap[child];
        place = child;
    }
    flight->heap[place] = last;
    return first;
}

uint8_t *pool_take(struct pool *pool)
{
    if (pool->spare == NULL) {
        if (pool->taken + SLOTS_AT_ONCE * pool->slot > pool->limit)
            return NULL;
        uint8_t *fresh = allocate(NULL, SLOTS_AT_ONCE, pool->slot);
        pool->taken += SLOTS_AT_ONCE * pool->slot;
        for (size_t each = 0; each < SLOTS_AT_ONCE; each++)
            pool_give(pool, fresh + each * pool->slot);
    }
    uint8_t *bytes = pool->spare;
    memcpy(&pool->spare, bytes, sizeof pool->spare);
    return bytes;
}

void pool_give(struct pool *pool, uint8_t *bytes)
{
    memcpy(bytes, &pool->spare, sizeof pool->spare);
    pool->spare = bytes;
}
