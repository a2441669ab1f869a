#include "text.h"
#include "link.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK 65536

void input_read(struct input *input)
{
    if (input->start) {
        memmove(input->bytes, input->bytes + input->start, input->length - input->start);
        input->length -= input->start;
        input->start = 0;
    }
    if (input->room - input->length < CHUNK) {
        input->room = 2 * input->room + CHUNK;
        input->bytes = allocate(input->bytes, input->room, 1);
    }
    ssize_t count;
    do
        count = read(input->descriptor, input->bytes + input->length, CHUNK);
    while (count < 0 && errno == EINTR);
    if (count <= 0)
        input->ended = true;
    else
        input->length += (size_t)count;
}

char *input_line(struct input *input)
{
    if (input->start == input->length)
        return NULL;
    char *line = input->bytes + input->start;
    char *end = memchr(line, '\n', input->length - input->start);
    if (end == NULL)
        return NULL;
    *end = '\0';
    input->start = (size_t)(end + 1 - input->bytes);
    return line;
}

bool words_left(const struct words *words)
{
    return words->rest[strspn(words->rest, " ")] != '\0';
}

const char *words_take(struct words *words)
{
    char *word = words->rest + strspn(words->rest, " ");
    char *end = word + strcspn(word, " ");
    if (word == end)
        words->wrong = true;
    words->rest = *end ? end + 1 : end;
    *end = '\0';
    return word;
}

int64_t words_number(struct words *words, int64_t least, int64_t most)
{
    const char *word = words_take(words);
    char *end;
    errno = 0;
    long long number = strtoll(word, &end, 10);
    if (words->wrong || errno || *end || number < least || number > most) {
        words->wrong = true;
        return most;
    }
    return number;
}

size_t words_numbers(struct words *words, int64_t **numbers)
{
    size_t count = 0, room = 0;
    *numbers = NULL;
    while (words_left(words) && !words->wrong) {
        if (count == room) {
            room = 2 * room + 16;
            *numbers = allocate(*numbers, room, sizeof **numbers);
        }
        (*numbers)[count++] = words_number(words, 0, INT64_MAX);
    }
    return count;
}

void answer_add(struct answer *answer, const char *form, ...)
{
    for (;;) {
        size_t left = answer->room - answer->length;
        va_list values;
        va_start(values, form);
        int length = vsnprintf(left ? answer->bytes + answer->length : NULL, left, form, values);
        va_end(values);
        if (length >= 0 && (size_t)length < left) {
            answer->length += (size_t)length;
            return;
        }
        answer->room = 2 * answer->room + CHUNK;
        answer->bytes = allocate(answer->bytes, answer->room, 1);
    }
}

void answer_numbers(struct answer *answer, const int64_t *numbers, size_t count)
{
    answer_add(answer, "[");
    for (size_t each = 0; each < count; each++)
        answer_add(answer, each ? ",%" PRId64 : "%" PRId64, numbers[each]);
    answer_add(answer, "]");
}

void answer_send(struct answer *answer)
{
    answer_add(answer, "\n");
    size_t sent = 0;
    while (sent < answer->length) {
        ssize_t count = write(STDOUT_FILENO, answer->bytes + sent, answer->length - sent);
        if (count < 0 && errno != EINTR)
            exit(1); /* nobody listens any more */
        if (count > 0)
            sent += (size_t)count;
    }
    answer->length = 0;
}
