/*
 * dump_text: cells of tables, for rmqdump.
 */
#include <stdio.h>
#include <time.h>

#include "common/str.h"
#include "tools/dump.h"

const char *
time_text(int64_t ms, char out[TIME_TEXT])
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;
	size_t n;

	if (ms <= 0 || localtime_r(&s, &tm) == NULL)
		return "-";
	n = strftime(out, TIME_TEXT, "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(out + n, TIME_TEXT - n, ".%03d", (int)(ms % 1000));
	return out;
}

void
put_cell(struct slice s, size_t width)
{
	bool text = str_is_utf8(s);
	size_t n = MIN_OF(s.n, width);

	/* a character is not cut in two */
	while (text && n > 0 && n < s.n && (s.p[n] & 0xC0) == 0x80)
		n--;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		putchar(c < 0x20 || c == 0x7f || (c >= 0x80 && !text) ? '?' : c);
	}
	for (size_t i = n; i < width; i++)
		putchar(' ');
}
