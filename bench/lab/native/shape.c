/* How a shape is told, the same before the start and while the link carries:
 *
 *     seed N                              mtu BYTES                   up 0|1
 *     steady RATE                         stepped OFFSET PERIOD (TIME RATE DELAY LOSS)…
 *     recorded OFFSET LUMP TIME…          queue NS|-1 BYTES|-1
 *     delay NS                            jitter NS                   reorder 0|1
 *     lossless                            random LOSS
 *     bursts TO_BAD TO_GOOD GOOD BAD      mask PERIOD NUMBER…
 *     policer RATE BURST                  others SIZE BETWEEN ON OFF
 *     outages PERIOD (START END)…         duplicate SHARE             corrupt SHARE
 *
 * Times are in ns (those of a recording in ms), sizes in bytes, rates in bit/s, probabilities in
 * 2^-53; a period of 0 is none. bench/lab/emulator.py writes these lines from a Shape.
 */

#include "shape.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST (INT64_C(1) << 60)
#define CERTAIN (INT64_C(1) << 53)
#define BIGGEST_BURST INT64_C(1000000000)
#define FASTEST INT64_C(1000000000000)

static uint64_t share(struct words *words)
{
    return (uint64_t)words_number(words, 0, CERTAIN);
}

static int64_t duration(struct words *words)
{
    return words_number(words, 0, LONGEST);
}

static bool rising(const int64_t *numbers, size_t count, bool strictly)
{
    for (size_t each = 1; each < count; each++)
        if (numbers[each] < numbers[each - 1] ||
            (strictly && numbers[each] == numbers[each - 1]))
            return false;
    return true;
}

static void order_seed(struct link *link, struct words *words)
{
    const char *word = words_take(words);
    char *end;
    errno = 0;
    link->seed = strtoull(word, &end, 10);
    words->wrong |= !isdigit((unsigned char)*word) || errno || *end != '\0';
}

static void order_steady(struct link *link, struct words *words)
{
    link->shape.rate = words_number(words, 1, FASTEST);
    link->shape.kind = STEADY;
}

static void order_stepped(struct link *link, struct words *words)
{
    struct shape *shape = &link->shape;
    int64_t *numbers;
    bool carries = false;
    shape->kind = STEPPED;
    shape->offset = duration(words);
    shape->period = duration(words);
    size_t count = words_numbers(words, &numbers);
    words->wrong |= count % 4 != 0;
    shape->count = count / 4;
    struct step *steps = allocate(NULL, shape->count, sizeof *steps);
    for (size_t each = 0; each < shape->count; each++) {
        const int64_t *from = numbers + 4 * each;
        steps[each] = (struct step){from[0], from[1], from[2], (uint64_t)from[3]};
        words->wrong |= each ? from[0] <= steps[each - 1].time : from[0] != 0;
        words->wrong |= from[0] > LONGEST || from[1] > FASTEST || from[2] > LONGEST;
        words->wrong |= from[3] > CERTAIN;
        carries = from[1] > 0 || (carries && shape->period);
    }
    words->wrong |= !carries || (shape->period && steps[shape->count - 1].time >= shape->period);
    shape->steps = steps;
    free(numbers);
}

static void order_recorded(struct link *link, struct words *words)
{
    struct shape *shape = &link->shape;
    int64_t *times;
    shape->kind = RECORDED;
    shape->offset = duration(words);
    shape->lump = words_number(words, 1, LONGEST);
    shape->count = words_numbers(words, &times);
    shape->times = times;
    if (!shape->count || !rising(times, shape->count, false) || times[shape->count - 1] == 0 ||
        times[shape->count - 1] > LONGEST / MILLISECOND) {
        words->wrong = true;
        return;
    }
    shape->period = times[shape->count - 1] * MILLISECOND;
    words->wrong |= shape->offset >= shape->period;
}

static void order_queue(struct link *link, struct words *words)
{
    link->shape.queue = words_number(words, UNLIMITED, LONGEST);
    link->shape.queue_bytes = words_number(words, UNLIMITED, LONGEST);
}

static void order_lossless(struct link *link, struct words *words)
{
    (void)words;
    link->shape.losing = LOSSLESS;
}

static void order_random(struct link *link, struct words *words)
{
    link->shape.losing = RANDOM;
    link->shape.loss = share(words);
}

static void order_bursts(struct link *link, struct words *words)
{
    link->shape.losing = BURSTS;
    link->shape.leave[0] = share(words);
    link->shape.leave[1] = share(words);
    link->shape.lose[0] = share(words);
    link->shape.lose[1] = share(words);
}

static void order_mask(struct link *link, struct words *words)
{
    int64_t *numbers;
    link->shape.losing = MASKED;
    link->shape.mask_period = duration(words);
    link->shape.mask_count = words_numbers(words, &numbers);
    link->shape.mask = numbers;
    words->wrong |= !rising(numbers, link->shape.mask_count, true);
}

static void order_policer(struct link *link, struct words *words)
{
    link->shape.police_rate = words_number(words, 1, FASTEST);
    link->shape.police_burst = words_number(words, 1, BIGGEST_BURST);
}

static void order_others(struct link *link, struct words *words)
{
    link->shape.others_size = words_number(words, 1, 65535);
    link->shape.others_between = words_number(words, 1, LONGEST);
    link->shape.others_on = duration(words);
    link->shape.others_off = duration(words);
    words->wrong |= (link->shape.others_on == 0) != (link->shape.others_off == 0);
}

static void order_outages(struct link *link, struct words *words)
{
    int64_t *windows;
    int64_t period = duration(words);
    size_t count = words_numbers(words, &windows);
    link->shape.outage_period = period;
    link->shape.window_count = count / 2;
    link->shape.windows = windows;
    words->wrong |= count == 0 || count % 2 != 0 || !rising(windows, count, true);
    words->wrong |= count && windows[count - 1] > (period ? period : LONGEST);
}

static void order_mtu(struct link *link, struct words *words)
{
    link->mtu = words_number(words, 1, 65535);
}

static void order_up(struct link *link, struct words *words)
{
    link->up = words_number(words, 0, 1);
}

static void order_delay(struct link *link, struct words *words)
{
    link->shape.delay = duration(words);
}

static void order_jitter(struct link *link, struct words *words)
{
    link->shape.jitter = duration(words);
}

static void order_reorder(struct link *link, struct words *words)
{
    link->shape.reorder = words_number(words, 0, 1);
}

static void order_duplicate(struct link *link, struct words *words)
{
    link->shape.duplicate = share(words);
}

static void order_corrupt(struct link *link, struct words *words)
{
    link->shape.corrupt = share(words);
}

static const struct {
    const char *verb;
    void (*order)(struct link *link, struct words *words);
} ORDERS[] = {
    {"seed", order_seed},           {"mtu", order_mtu},         {"up", order_up},
    {"steady", order_steady},       {"stepped", order_stepped}, {"recorded", order_recorded},
    {"queue", order_queue},         {"delay", order_delay},     {"jitter", order_jitter},
    {"reorder", order_reorder},     {"lossless", order_lossless}, {"random", order_random},
    {"bursts", order_bursts},       {"mask", order_mask},       {"policer", order_policer},
    {"others", order_others},       {"outages", order_outages}, {"duplicate", order_duplicate},
    {"corrupt", order_corrupt},
};

bool shape_order(struct link *link, const char *verb, struct words *words)
{
    for (size_t each = 0; each < sizeof ORDERS / sizeof *ORDERS; each++) {
        if (strcmp(verb, ORDERS[each].verb) == 0) {
            struct link before = *link;
            ORDERS[each].order(link, words);
            if (words->wrong || words_left(words)) {
                words->wrong = true;
                *link = before;
            }
            return true;
        }
    }
    return false;
}
