/*
 * Names on disk that are not in Unicode's composed form are given it.
 * docs/design/0006-nfc.md, BEP-FACTS.md 6.1.
 */
#include "engine/base/nfc.h"
#include "engine/base/path.h"
#include "engine/scan_state.h"

static void
scan_on_composed(struct folder *f, void *arg, const struct event *ev)
{
	struct scan_ask *ask = arg;
	struct scan *sc = ask->ps->sc;
	struct arena *scratch = core_scratch(f->en);
	const struct slice nfc = nfc_of(ask->path, scratch);
	const int code = ev->u.done.code;

	switch (code) {
	case 0:
		log_info(core_log(f->en), "scan compose path=%s",
		    path_print(scratch, nfc));
		scan_problem_gone(sc, ask->path);
		scan_hint(f, nfc, true);
		break;
	case ERR_EXISTS:
		scan_problem_put(sc, ask->path, REASON_NAME_CLASH,
		    SLICE_LIT("its composed form (Unicode NFC) is the name of "
			      "something else here"));
		/* A disk that knows one form only has it under both names. */
		scan_hint(f, nfc, ask->ps->full);
		break;
	case ERR_CHANGED:
	case ERR_NOT_FOUND:
		scan_hint(f, ask->path, false);
		scan_hint(f, nfc, false);
		break;
	default:
		if (folder_met_error(f, code, ev->u.done.text))
			break;
		scan_problem_put(sc, ask->path,
		    code == ERR_DENIED ? REASON_UNWRITABLE : REASON_IO_ERROR,
		    ev->u.done.text);
		break;
	}
	scan_ask_end(ask);
}

/* Ignored whole: not ours to rename. */
static bool
scan_name_is_ignored(const struct folder *f, struct slice nfc,
    const struct identity *seen)
{
	return ignore_test(f->ignore, nfc).ignored &&
	       (seen->type != IDENTITY_DIR || ignore_can_skip(f->ignore, nfc));
}

bool
scan_compose(struct scan_pass *ps, struct slice path,
    const struct identity *seen)
{
	struct folder *f = ps->sc->f;
	struct arena *scratch = core_scratch(f->en);
	struct scan_ask *ask;
	struct effect *ef;
	struct slice nfc;
	struct err err = { 0 };

	if (nfc_is(path))
		return false;
	if (!nfc_is(path_parent(path))) {
		scan_hint(f, path_parent(path),
		    false); /* the upper one first */
		return true;
	}
	nfc = nfc_of(path, scratch);
	if (scan_name_is_ignored(f, nfc, seen))
		return true;
	if (seen->type == IDENTITY_OTHER)
		return false; /* stays here whatever its name */
	if (path_check(nfc, &err) < 0 || entry_is_internal(nfc)) {
		scan_problem_put(ps->sc, path, REASON_BAD_NAME,
		    SLICE_LIT("it has no composed form (Unicode NFC) that can "
			      "be synced"));
		return true;
	}
	ask = scan_ask_new(ps, path, 0);
	ef = core_ask(f, EFFECT_MOVE, scan_on_composed, ask);
	ef->path = ask->path;
	ef->want = *seen;
	ef->u.move.to = nfc;
	return true;
}

void
scan_composable(const struct event *ev, struct slice dir, struct map *out,
    struct arena *arena)
{
	for (uint32_t i = 0; i < ev->u.done.entry_count; i++) {
		const struct slice name = ev->u.done.entry[i].name;

		if (ev->u.done.entry[i].seen.type != IDENTITY_OTHER &&
		    slice_is_utf8(name) && !nfc_is(name))
			map_put(out, path_join(arena, dir, nfc_of(name, arena)),
			    out);
	}
}
