/*
 * Log lines: module, verb, key=value.
 *
 * Pure code writes to the sink it is given; tests read the same lines.
 * error: a person must act; warn: we coped; info: worth reading next week.
 */
#ifndef HOLDFAST_BASE_LOG_H
#define HOLDFAST_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct log {
	enum log_level level; /* lines above it are not formatted */
	void (*write)(void *arg, enum log_level level, const char *line);
	void *arg;
};

/* One line without a newline, at most LIMIT_LOG_LINE bytes; the rest is cut. */
void log_line(const struct log *log, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
const char *log_level_name(enum log_level level);
/* From "error", "warn", "info", "debug"; false when it is none of them. */
bool log_level_parse(const char *text, enum log_level *out);

#define LOG_AT(log, lvl, ...)                                                  \
	do {                                                                   \
		if ((log) != NULL && (lvl) <= (log)->level)                    \
			log_line((log), (lvl), __VA_ARGS__);                   \
	} while (0)
#define log_error(log, ...) LOG_AT(log, LOG_ERROR, __VA_ARGS__)
#define log_warn(log, ...) LOG_AT(log, LOG_WARN, __VA_ARGS__)
#define log_info(log, ...) LOG_AT(log, LOG_INFO, __VA_ARGS__)
#define log_debug(log, ...) LOG_AT(log, LOG_DEBUG, __VA_ARGS__)

#endif
