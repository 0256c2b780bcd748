/* Names and their beginnings; see names.h. */
#include "cli/names.h"

int
names_find(const struct names_item *item, size_t count, const char *what,
    struct slice text, size_t *out, struct err *err)
{
	size_t hits = 0;

	for (size_t i = 0; i < count; i++) {
		if (slice_equal(item[i].name, text)) {
			*out = i;
			return 0;
		}
	}
	for (size_t i = 0; i < count; i++) {
		if (item[i].other.len > 0 && slice_equal(item[i].other, text)) {
			*out = i;
			hits++;
		}
	}
	for (size_t i = 0, full = hits; i < count && full == 0; i++) {
		if (text.len == 0 ||
		    (!slice_has_prefix(item[i].name, text) &&
			!slice_has_prefix(item[i].other, text)))
			continue;
		*out = i;
		hits++;
	}
	if (hits == 1)
		return 0;
	if (hits > 1)
		return err_set(err, ERR_INVALID,
		    "\"%.*s\" means more than one %s; type more of it",
		    SLICE_FMT(text), what);
	return err_set(err, ERR_NOT_FOUND, "no %s \"%.*s\"", what,
	    SLICE_FMT(text));
}
