/* Orders about the shape of a direction, as lines of words. See shape.c. */

#ifndef SHAPE_H
#define SHAPE_H

#include "link.h"
#include "text.h"

/* Carries out the order `verb` on a link with the words that follow. False: there is no such order.
 * Missing or impossible numbers make `words` wrong and leave the link as it was. */
bool shape_order(struct link *link, const char *verb, struct words *words);

#endif
