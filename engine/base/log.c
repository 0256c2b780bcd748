/*
 * Formatting of log lines.
 */
#include "engine/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/limits.h"

static const char *const log_names[] = {
	[LOG_ERROR] = "error",
	[LOG_WARN] = "warn",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug",
};

/* What could move a terminal's cursor or begin a second line. */
static void
log_clean(char *line)
{
	for (; *line != '\0'; line++) {
		const unsigned char c = (unsigned char)*line;

		if (c < 0x20 || c == 0x7f)
			*line = '?';
	}
}

/* Do not leave half a UTF-8 sequence at the end of a line that was cut. */
static void
log_trim(char *line, size_t len)
{
	while (len > 0 && ((unsigned char)line[len - 1] & 0xc0) == 0x80)
		len--;
	if (len > 0 && (unsigned char)line[len - 1] >= 0xc0)
		len--;
	line[len] = '\0';
}

void
log_line(const struct log *log, enum log_level level, const char *fmt, ...)
{
	char line[LIMIT_LOG_LINE];
	va_list ap;
	int n;

	if (log == NULL || log->write == NULL || level > log->level)
		return;
	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n >= sizeof(line))
		log_trim(line, sizeof(line) - 1);
	log_clean(line);
	log->write(log->arg, level, line);
}

const char *
log_level_name(enum log_level level)
{
	return log_names[level];
}

bool
log_level_parse(const char *text, enum log_level *out)
{
	for (unsigned i = 0; i < sizeof(log_names) / sizeof(log_names[0]);
	     i++) {
		if (strcmp(text, log_names[i]) == 0) {
			*out = (enum log_level)i;
			return true;
		}
	}
	return false;
}
