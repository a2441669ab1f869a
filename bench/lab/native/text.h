/* Lines of words in, JSON out. */

#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is read from a descriptor, line by line. */
struct input {
    int descriptor;
    char *bytes;
    size_t start, length, room;
    bool ended;
};

/* Reads once; waits when there is nothing yet. */
void input_read(struct input *input);
/* Returns the next whole line without its end, or NULL; it lives until the next input_read. */
char *input_line(struct input *input);

/* The words of a line, taken one by one; `wrong` stays true once a wanted one was missing or no number. */
struct words {
    char *rest;
    bool wrong;
};

const char *words_take(struct words *words);
int64_t words_number(struct words *words, int64_t least, int64_t most);
/* Takes all that is left; the caller owns the numbers. */
size_t words_numbers(struct words *words, int64_t **numbers);
bool words_left(const struct words *words);

/* An answer being written. */
struct answer {
    char *bytes;
    size_t length, room;
};

__attribute__((format(printf, 2, 3))) void answer_add(struct answer *answer, const char *form, ...);
void answer_numbers(struct answer *answer, const int64_t *numbers, size_t count);
/* Writes the answer and a line's end to standard output, and empties it. */
void answer_send(struct answer *answer);

#endif
