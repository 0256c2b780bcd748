/*
 * Names nobody is told about; see change.h.
 */
#include "watcher/change.h"

bool
change_is_internal(struct slice path)
{
	static const char *const top[] = { ".stfolder", ".stversions" };
	const size_t slash = slice_rfind(path, '/');
	const struct slice base =
	    slash == SIZE_MAX ? path : slice_from(path, slash + 1);

	for (size_t i = 0; i < sizeof(top) / sizeof(top[0]); i++) {
		const struct slice name = slice_str(top[i]);

		if (slice_has_prefix(path, name) &&
		    (path.len == name.len || path.ptr[name.len] == '/'))
			return true;
	}
	return slice_has_suffix(base, SLICE_LIT(".tmp")) &&
	       (slice_has_prefix(base, SLICE_LIT(".syncthing.")) ||
		   slice_has_prefix(base, SLICE_LIT("~syncthing~")));
}
