/*
 * log: one line per event, for a person.
 *
 * A line is "2026-11-20 10:15:03.123 LEVEL role[pid]: text". Lines go to a file (opened for appending, one write(2) a
 * line, so several processes may share it), to stderr or to syslog.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include "common/base.h"

enum log_level { LOG_LV_ERROR, LOG_LV_WARN, LOG_LV_INFO, LOG_LV_DEBUG, LOG_LV_TRACE };

extern enum log_level log_level_now;

#define log_error(...) log_line(LOG_LV_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LV_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_LV_INFO, __VA_ARGS__)
#define log_debug(...) (log_level_now >= LOG_LV_DEBUG ? log_line(LOG_LV_DEBUG, __VA_ARGS__) : (void)0)
#define log_trace(...) (log_level_now >= LOG_LV_TRACE ? log_line(LOG_LV_TRACE, __VA_ARGS__) : (void)0)

/* Who speaks: shown in each line. The text is copied. */
void	log_set_role(const char *role);
/* RC_INVAL: no such level name (error, warn, info, debug, trace). */
enum rc	log_set_level(const char *name) MUST_CHECK;
void	log_to_stderr(void);
void	log_to_syslog(const char *ident);
/* Opens path for appending (mode 0600, made if missing). RC_IO: errno; the old destination stays in use. */
enum rc	log_to_file(const char *path) MUST_CHECK;
/* After logrotate moved the file: opens the path again. Without a file it does nothing. */
void	log_reopen(void);
void	log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

/*
 * Keeps a peer from filling the log: true at most `burst` times in a minute for this place; then it counts, and the next
 * minute's first line is preceded by "N lines like this left out".
 */
struct log_limit {
	int64_t		minute;
	unsigned	said, left_out;
};
bool	log_allowed(struct log_limit *l, unsigned burst);

#endif
