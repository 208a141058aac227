/*
 * title: what ps shows of a process.
 *
 * The kernel shows the memory that argv was given in; so the arguments and what lies behind them, the environment, are
 * moved away once, and the room is written over.
 */
#include <stdio.h>
#include <unistd.h>

#include "common/mem.h"
#include "master/master.h"

static char *room;
static size_t room_size;
static char **own_environ; /* kept here, too: the library forgets its pointer at the end */

/* The end of the memory that `list` fills if it goes on where `end` is. */
static char *
adjoining_end(char **list, char *end)
{
	for (; *list != NULL; list++)
		if (*list == end)
			end = *list + strlen(*list) + 1;
	return end;
}

static void
move_strings(char **list)
{
	for (; *list != NULL; list++)
		*list = xstrdup(*list);
}

void
title_init(int argc, char **argv)
{
	char **copy = environ;
	size_t n = 0;

	if (argc < 1)
		return;
	room = argv[0];
	room_size = (size_t)(adjoining_end(environ, adjoining_end(argv, argv[0])) - argv[0]);
	while (copy[n] != NULL)
		n++;
	own_environ = xcalloc(n + 1, sizeof(*own_environ));
	memcpy(own_environ, copy, n * sizeof(*own_environ));
	move_strings(own_environ);
	environ = own_environ;
	move_strings(argv);
}

void
title_set(const char *fmt, ...)
{
	char text[200];
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (room_size > 0) {
		n = MIN_OF(strlen(text), room_size - 1);
		memset(room, 0, room_size);
		memcpy(room, text, n);
	}
}
