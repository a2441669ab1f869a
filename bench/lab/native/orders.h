/* Orders to the emulator, and its answers. See orders.c. */

#ifndef ORDERS_H
#define ORDERS_H

/* Carries out one line and writes the answer to standard output. */
void obey(char *text);

#endif
