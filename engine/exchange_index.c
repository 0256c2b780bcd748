/*
 * Indexes over the wire; see exchange_index.h.
 */
#include "engine/exchange_index.h"

#include "engine/base/mem.h"
#include "engine/base/mutant.h"
#include "engine/base/nfc.h"
#include "engine/base/path.h"
#include "engine/brake.h"
#include "engine/decide.h"
#include "engine/exchange_progress.h"
#include "engine/exchange_state.h"
#include "engine/pull.h"
#include "engine/scan.h"

/* All indexes anew because of one that lied: not more often. */
#define EXCHANGE_ASK_AGAIN_NS CLOCK_MIN

/* Forget all that the device in this slot told us.  True: it said something
 * else of a version than another device did. */
static bool
exchange_forget(struct folder *f, uint32_t slot)
{
	struct arena arena = { 0 };
	bool equivocal = false;
	struct slice cursor = SLICE_EMPTY;

	arena_init(&arena);
	/* In one step: it happens when a peer lost its index, and a message
	 * that follows must not meet a half-forgotten one. */
	while (index_forget_step(f->ix, slot, &cursor, LIMIT_STEP_ROWS, &arena,
	    &equivocal)) {
		struct slice keep =
		    slice_of(mem_dup(cursor.ptr, cursor.len), cursor.len);

		arena_clear(&arena);
		cursor = arena_dup(&arena, keep);
		mem_free((void *)(uintptr_t)keep.ptr);
	}
	arena_fini(&arena);
	return equivocal;
}

static bool
exchange_is_shared(const struct folder *f, uint32_t slot)
{
	for (uint32_t i = 0; i < f->share_count; i++)
		if (f->share[i].slot == slot)
			return true;
	return false;
}

/*
 * Who said something else of a version than others takes its word back.  The
 * index kept what it heard first: the others are asked for all of theirs again.
 */
static void
exchange_ask_again(struct folder *f, uint32_t slot, bool now)
{
	const uint64_t now_ns = core_now(f->en).mono_ns;

	/* One that goes on lying shall not have us ask all the time. */
	if (now && f->asked_again_ns != 0 &&
	    now_ns - f->asked_again_ns < EXCHANGE_ASK_AGAIN_NS)
		return;
	if (now)
		f->asked_again_ns = now_ns;
	for (uint32_t i = 0; i < f->share_count; i++) {
		struct share *sh = &f->share[i];
		struct peer_state st = index_peer(f->ix, sh->slot);

		if (sh->slot == slot || MUTANT(MUTANT_TWO_OF_ONE_KEPT))
			continue;
		exchange_forget(f, sh->slot);
		st.max_sequence = 0;
		index_put_peer(f->ix, sh->slot, st);
		if (now && sh->peer != NULL)
			exchange_send_config(sh->peer);
	}
}

void
exchange_index_leave(struct folder *f)
{
	bool equivocal = false;

	for (uint32_t slot = ROW_SELF + 1; slot < index_slots(f->ix); slot++) {
		const struct peer_state st = index_peer(f->ix, slot);

		if ((st.index_id == 0 && st.max_sequence == 0) ||
		    exchange_is_shared(f, slot))
			continue;
		equivocal |= exchange_forget(f, slot);
		index_put_peer(f->ix, slot, (struct peer_state){ 0 });
	}
	/* A ClusterConfig goes to everybody in any case. */
	if (equivocal)
		exchange_ask_again(f, ROW_SELF, false);
}

void
exchange_index_theirs(struct folder *f, struct share *sh,
    const struct peer_state *theirs)
{
	struct peer_state st = index_peer(f->ix, sh->slot);

	if (theirs->index_id != 0 && theirs->index_id == st.index_id)
		return;
	if ((st.index_id != 0 || st.max_sequence != 0) &&
	    !MUTANT(MUTANT_STALE_INDEX_KEPT) && exchange_forget(f, sh->slot))
		exchange_ask_again(f, sh->slot, true);
	index_put_peer(f->ix, sh->slot,
	    (struct peer_state){ .index_id = theirs->index_id });
}

void
exchange_index_ours(struct folder *f, struct share *sh,
    const struct peer_state *ours)
{
	const uint64_t max = (uint64_t)ours->max_sequence;
	const bool same = ours->index_id == index_id(f->ix);
	const bool delta = same && ours->max_sequence > 0 &&
			   max <= f->committed_seq && index_gave(f->ix, max);

	/* What an index said that is no more must be forgotten, even if there
	 * is nothing to say instead. */
	sh->send_empty = same && max > 0 && !delta;
	sh->send_full = !delta;
	sh->sent_seq = delta ? max + MUTANT(MUTANT_DELTA_SKIPS_ONE) : 0;
	sh->said_seq = delta ? ours->max_sequence : 0;
}

/*
 * A Syncthing deletes only what is of the kind that the deletion names, and it
 * may have missed that a directory became a file before it went.  The kind says
 * nothing else of what is deleted: name what the device has.
 */
static enum entry_type
exchange_type_there(const struct row *row, uint32_t slot, enum entry_type type)
{
	for (uint32_t i = 0; i < row->version_count; i++) {
		const struct row_version *v = &row->version[i];

		if (!v->entry.deleted && devset_has(&v->holders, slot))
			return v->entry.type;
	}
	return type;
}

/* An entry of ours as the device in `slot` shall see it. */
static int
exchange_entry(struct folder *f, const struct row *row, uint32_t slot,
    struct entry *out, struct arena *arena, struct err *err)
{
	const struct row_version *v = row_local(row);
	const bool hidden =
	    (row->flags & (ROW_LOCAL_CHANGED | ROW_IGNORED)) != 0 ||
	    !devset_has(&v->holders, ROW_SELF);

	*out = v->entry;
	out->name = row->path;
	out->sequence = (int64_t)row->seq;
	if ((row->flags & ROW_LOCAL_CHANGED) != 0)
		out->version = (struct version){ NULL, 0 };
	if (hidden) {
		out->invalid = true;
		out->block_count = 0;
		out->block = NULL;
	}
	if (MUTANT(MUTANT_IGNORED_DELETED) && hidden) {
		out->invalid = false;
		out->deleted = true;
		out->version = version_bump(out->version,
		    core_self_short(f->en), 0, arena);
	}
	if (out->deleted)
		out->type = exchange_type_there(row, slot, out->type);
	if (out->type == ENTRY_LINK)
		out->no_perms = true;
	if (out->block_count <= 1 || out->deleted)
		return 0;
	return index_blocks(f->ix, &v->entry, &out->block, arena, err);
}

static size_t
exchange_entry_size(const struct entry *e)
{
	return 96 + e->name.len + e->link_target.len + e->platform.len +
	       (size_t)e->block_count * 50 + (size_t)e->version.count * 20;
}

/*
 * What is sent has come, or this session is over: if the folder pauses and
 * runs again meanwhile, there is no need to say it twice.
 */
static void
exchange_follow_sent(struct folder *f, struct share *sh)
{
	struct peer *p = sh->peer;

	for (size_t i = 0; i < p->offer.len; i++)
		if (slice_equal(p->offer.item[i].id, f->cfg.id))
			p->offer.item[i].ours = (struct peer_state){
				.index_id = index_id(f->ix),
				.max_sequence = sh->said_seq,
			};
}

static void exchange_on_sent(struct folder *f, void *arg,
    const struct event *ev);

/* What exchange_on_sent() needs; the folder may be gone by then. */
struct exchange_sent {
	struct list_node node; /* in en->sent */
	struct engine *en;
	uint32_t folder;
	struct devid device;
};

/* Send one batch to one device, if there is one and it may be sent. */
static void
exchange_send_index(struct folder *f, struct share *sh)
{
	struct arena *scratch = core_scratch(f->en);
	struct message m = { .type = MESSAGE_INDEX_UPDATE };
	struct index_message *im = &m.u.index;
	struct entry *entry;
	struct exchange_sent *sent;
	struct err err = { 0 };
	size_t bytes = 0;

	if (sh->peer == NULL || !sh->peer->cc_came || !sh->remote_runs ||
	    sh->send_busy || !folder_talks(f) ||
	    (sh->sent_seq >= f->committed_seq && !sh->send_empty) ||
	    scan_holds_back(f))
		return;
	entry = arena_array(scratch, LIMIT_INDEX_BATCH_FILES, sizeof(*entry));
	im->prev_sequence = sh->said_seq;
	while (im->entry_count < LIMIT_INDEX_BATCH_FILES &&
	       bytes < LIMIT_INDEX_BATCH_LEN) {
		struct row *row = index_next_seq(f->ix, sh->sent_seq, scratch);
		struct entry *e = &entry[im->entry_count];

		if (row == NULL || row->seq > f->committed_seq)
			break;
		sh->sent_seq = row->seq;
		if (f->told_seq < row->seq)
			f->told_seq = row->seq;
		if (row_local(row) == NULL)
			continue;
		if (exchange_entry(f, row, sh->slot, e, scratch, &err) < 0) {
			folder_met_error(f, err.code, slice_str(err.text));
			return;
		}
		bytes += exchange_entry_size(e);
		im->entry_count++;
	}
	if (im->entry_count == 0 && !sh->send_empty) {
		sh->sent_seq = f->committed_seq;
		return;
	}
	im->folder = f->cfg.id;
	im->entry = entry;
	if (im->entry_count > 0)
		im->last_sequence = entry[im->entry_count - 1].sequence;
	sh->said_seq = im->last_sequence;
	if (sh->send_full)
		m.type = MESSAGE_INDEX;
	sh->send_full = sh->send_empty = false;
	sh->send_busy = true;
	sent = mem_zalloc(sizeof(*sent));
	*sent = (struct exchange_sent){ .en = f->en,
		.folder = f->number,
		.device = sh->device };
	list_add(&f->en->sent, &sent->node);
	exchange_send(sh->peer, &m, NULL, exchange_on_sent, sent);
	exchange_follow_sent(f, sh);
	log_debug(core_log(f->en),
	    "exchange index folder=%s device=%s "
	    "entries=%u last=%lld",
	    path_print(scratch, f->cfg.id), exchange_peer_name(sh->peer),
	    im->entry_count, (long long)im->last_sequence);
}

static void
exchange_on_sent(struct folder *none, void *arg, const struct event *ev)
{
	struct exchange_sent *sent = arg;
	struct engine *en = sent->en;
	struct folder *f = sent->folder < en->folder.len
			       ? en->folder.item[sent->folder]
			       : NULL;
	struct share *sh = f == NULL ? NULL : folder_share(f, &sent->device);

	(void)none;
	if (sh != NULL && ev->u.done.code == 0) {
		sh->send_busy = false;
		if (f->ix != NULL)
			exchange_send_index(f, sh);
	}
	list_remove(&en->sent, &sent->node);
	mem_free(sent);
}

void
exchange_sent_free(struct engine *en)
{
	struct list_node *n;

	while ((n = list_first(&en->sent)) != NULL) {
		list_remove(&en->sent, n);
		mem_free(LIST_ITEM(n, struct exchange_sent, node));
	}
}

void
exchange_index_grew(struct folder *f)
{
	for (uint32_t i = 0; i < f->share_count; i++)
		exchange_send_index(f, &f->share[i]);
}

/* What we have, announced by a version above `e->version`. */
static bool
exchange_put_anew(struct folder *f, const struct row *row, struct entry *e)
{
	struct arena *scratch = core_scratch(f->en);
	const struct version was = row_local(row)->entry.version;
	struct err err = { 0 };

	e->name = row->path;
	if (e->block == NULL && e->block_count > 0 &&
	    index_blocks(f->ix, e, &e->block, scratch, &err) < 0)
		return false;
	e->modified_by = core_self_short(f->en);
	e->version = version_bump(e->version, e->modified_by,
	    index_stamp(f->ix, core_now(f->en).wall_ns / (int64_t)CLOCK_S),
	    scratch);
	/* No counter is left: said again it would be answered again. */
	if (version_equal(e->version, was))
		return false;
	index_put_local(f->ix, e, &row->seen, 0);
	return true;
}

/*
 * There is a deletion that has not seen our edit.  Ours wins here, but newer
 * Syncthings would have the deletion win: announce the edit anew, above both,
 * and everyone agrees.  docs/design/0003-winner.md.
 */
void
exchange_index_revive(struct folder *f, struct slice path)
{
	struct arena *scratch = core_scratch(f->en);
	const struct row *row = index_row(f->ix, path, scratch);
	struct entry e;

	if (row == NULL || row->local < 0 || row->local != row->global ||
	    decide(row, f->cfg.mode, f->cfg.ignore_perms).kind !=
		VERDICT_REVIVE)
		return;
	/* Something else is being put there; when it is, it is decided anew. */
	if (pull_owns(f, path))
		return;
	e = row_local(row)->entry;
	for (uint32_t i = 0; i < row->version_count; i++)
		if (row->version[i].entry.deleted)
			e.version = version_merge(e.version,
			    row->version[i].entry.version, scratch);
	if (!exchange_put_anew(f, row, &e))
		return;
	log_info(core_log(f->en), "exchange revive path=%s",
	    path_print(scratch, path));
}

/*
 * Can `theirs` not have been made from ours, though its numbers say so?  It
 * knows a later word of ours than we do; or as late a one, and of this one
 * nobody heard yet.
 */
static bool
exchange_is_older_word(const struct folder *f, const struct row *row,
    const struct entry *ours, const struct entry *theirs)
{
	const uint64_t self = core_self_short(f->en);
	const uint64_t mine = version_counter(ours->version, self);
	const uint64_t known = version_counter(theirs->version, self);

	return known > mine || (known == mine && row->seq > f->told_seq);
}

/*
 * Others know a later word of ours than we do: our index was lost, and the
 * clock went back, too.  What a person wrote here since was not made before
 * that word because its number is lower.  It goes above what we said ourselves,
 * and what others made of that is beside it.
 */
static void
exchange_reclaim(struct folder *f, struct slice path)
{
	struct arena *scratch = core_scratch(f->en);
	const uint64_t self = core_self_short(f->en);
	const struct row *row = index_row(f->ix, path, scratch);
	const struct entry *theirs;
	struct entry e;

	/* What is older than this run may have come from a backup, with its
	 * files: then it is older. */
	if (row == NULL || row->local < 0 || row->local == row->global ||
	    row->flags != 0 || row->seq <= f->opened_seq ||
	    f->cfg.mode == FOLDER_RECEIVE_ONLY || pull_owns(f, path) ||
	    MUTANT(MUTANT_AMNESIA_BELIEVED))
		return;
	e = row_local(row)->entry;
	theirs = &row_global(row)->entry;
	if (e.modified_by != self || decide_same_content(&e, theirs) ||
	    !exchange_is_older_word(f, row, &e, theirs) ||
	    version_compare(theirs->version, e.version) != VERSION_NEWER)
		return;
	e.version = version_merge(e.version,
	    version_only(theirs->version, self, scratch), scratch);
	if (exchange_put_anew(f, row, &e))
		log_info(core_log(f->en), "exchange reclaim path=%s",
		    path_print(scratch, path));
}

/*
 * The device has something else than we by the same version.  Somebody lied, to
 * one of us or to both, and nothing says whose is the true one: ours goes above
 * that version, and the other's, who hears of ours, too.  Then these are two
 * edits at once: there is a winner, and the other is kept beside it.
 */
static void
exchange_part(struct folder *f, const struct share *sh, const struct entry *in)
{
	struct arena *scratch = core_scratch(f->en);
	const struct row *row = index_row(f->ix, in->name, scratch);
	const struct row_version *ours = row == NULL ? NULL : row_local(row);
	struct entry e;

	if (ours == NULL || in->invalid || ours->entry.deleted ||
	    !devset_has(&ours->holders, ROW_SELF) ||
	    !devset_has(&ours->shadows, sh->slot) ||
	    !version_equal(ours->entry.version, in->version) ||
	    f->cfg.mode == FOLDER_RECEIVE_ONLY || pull_owns(f, in->name) ||
	    MUTANT(MUTANT_TWO_OF_ONE_KEPT))
		return;
	e = ours->entry;
	if (exchange_put_anew(f, row, &e))
		log_warn(core_log(f->en),
		    "exchange equivocal device=%s path=%s: two contents of one "
		    "version",
		    exchange_peer_name(sh->peer),
		    path_print(scratch, in->name));
}

/*
 * The device still has what it was told is gone, and it is of another kind than
 * it was told: it had not come so far when it was.  Say it again, rightly, and
 * by a new version: a Syncthing looks at nothing it has heard the version of.
 */
static void
exchange_tell_kind(struct folder *f, const struct share *sh,
    const struct entry *e)
{
	struct arena *scratch = core_scratch(f->en);
	const struct row *row = index_row(f->ix, e->name, scratch);
	struct entry gone;

	if (row == NULL || row->local < 0 || row->local != row->global ||
	    (row->flags & (ROW_LOCAL_CHANGED | ROW_IGNORED)) != 0 ||
	    row->seq > sh->sent_seq)
		return;
	gone = row_local(row)->entry;
	if (!gone.deleted ||
	    version_compare(e->version, gone.version) != VERSION_OLDER ||
	    exchange_type_there(row, sh->slot, gone.type) == e->type)
		return;
	exchange_put_anew(f, row, &gone);
}

/* Entries left out are told once a message: it may hold thousands. */
static void
exchange_refuse(struct peer *p, const struct entry *e, const char *why,
    uint32_t *refused)
{
	if ((*refused)++ > 0)
		return;
	log_warn(p->en->log, "exchange refuse device=%s path=%s reason=\"%s\"",
	    exchange_peer_name(p), path_print(core_scratch(p->en), e->name),
	    why);
}

/*
 * Did the device say something newer of it, later in the same index?  Then
 * this was said before, and comes again.  (One whose index went back says so
 * by sending the whole of it, and all it had said is forgotten.)
 */
static bool
exchange_is_replayed(struct folder *f, const struct share *sh,
    const struct entry *e, int64_t told)
{
	const struct row *row;
	enum version_order order;

	if (e->sequence > told)
		return false;
	row = index_row(f->ix, e->name, core_scratch(f->en));
	for (uint32_t i = 0; row != NULL && i < row->version_count; i++) {
		const struct row_version *v = &row->version[i];

		if (!devset_has(&v->holders, sh->slot) &&
		    !devset_has(&v->shadows, sh->slot))
			continue;
		/* Concurrent: it gave its own for another's since. */
		order = version_compare(e->version, v->entry.version);
		return order == VERSION_OLDER || order == VERSION_CONCURRENT;
	}
	return false;
}

/*
 * One entry that came.  False when the connection must end: what Syncthing
 * drops for, we drop for.  Anything else that is wrong costs the entry only.
 */
static bool
exchange_entry_came(struct peer *p, struct folder *f, struct share *sh,
    const struct entry *in, int64_t told, uint32_t *refused)
{
	struct arena *scratch = core_scratch(p->en);
	struct entry e = *in;
	struct err err = { 0 };
	bool differs;

	if (entry_check(&e, &err) < 0) {
		if (err.code == ERR_PROTOCOL) {
			exchange_drop(p, "folder %s: %s",
			    path_print(scratch, f->cfg.id), err.text);
			return false;
		}
		exchange_refuse(p, &e, err.text, refused);
		return true;
	}
	/* Here it would be renamed at once, and be another name for ever. */
	if (!nfc_is(e.name)) {
		exchange_refuse(p, &e, "the name is not in NFC", refused);
		return true;
	}
	if (entry_is_internal(e.name))
		return true;
	entry_normalise(&e, scratch);
	if (exchange_is_replayed(f, sh, &e, told))
		return true;
	exchange_progress_forget(f, &p->device, e.name);
	if (!e.deleted && !e.invalid)
		exchange_tell_kind(f, sh, &e);
	if (index_put_heard(f->ix, sh->slot, &e, &differs, &err) < 0) {
		folder_met_error(f, err.code, slice_str(err.text));
		return false;
	}
	if (e.deleted)
		exchange_index_revive(f, e.name);
	if (differs) {
		exchange_part(f, sh, &e);
		exchange_reclaim(f, e.name);
	}
	brake_heard(f, sh, e.name);
	return true;
}

/*
 * Up to which number do we have all of the device's index now?  Where the
 * message says that there is more before it than we have, what is missing is
 * asked for by the next ClusterConfig: the number stays.  (0: it says nothing.)
 */
static int64_t
exchange_has_up_to(const struct index_message *im, int64_t told)
{
	int64_t max = told;

	if (im->prev_sequence > told)
		return told;
	for (uint32_t i = 0; i < im->entry_count; i++)
		if (im->entry[i].sequence > max)
			max = im->entry[i].sequence;
	return max;
}

void
exchange_index_came(struct peer *p, const struct message *m)
{
	const struct index_message *im = &m->u.index;
	struct folder *f = exchange_folder(p, im->folder);
	struct share *sh = f == NULL ? NULL : exchange_share(f, p);
	struct peer_state st;
	int64_t told;
	uint32_t refused = 0;

	if (f == NULL) {
		exchange_drop(p, "index for folder %s, which is not shared",
		    path_print(core_scratch(p->en), im->folder));
		return;
	}
	/* Not open: it is asked again when the folder runs (the ClusterConfig
	 * then tells the peer from which sequence on). */
	if (!folder_talks(f) || !sh->remote_lists)
		return;
	st = index_peer(f->ix, sh->slot);
	if (m->type == MESSAGE_INDEX && st.max_sequence != 0) {
		if (exchange_forget(f, sh->slot))
			exchange_ask_again(f, sh->slot, true);
		st.max_sequence = 0;
	}
	told = st.max_sequence;
	for (uint32_t i = 0; i < im->entry_count; i++) {
		if (!exchange_entry_came(p, f, sh, &im->entry[i], told,
			&refused))
			return;
	}
	st.max_sequence = exchange_has_up_to(im, told);
	/* Of one that gives no numbers we still know that it said something:
	 * that is forgotten when it goes. */
	if (im->entry_count > 0 && st.index_id == 0 && st.max_sequence <= 0)
		st.max_sequence = 1;
	index_put_peer(f->ix, sh->slot, st);
	sh->last_index_ns = core_now(f->en).mono_ns;
	sh->more_coming = im->entry_count >= LIMIT_INDEX_BATCH_FILES;
	log_debug(p->en->log,
	    "exchange came folder=%s device=%s entries=%u refused=%u",
	    path_print(core_scratch(p->en), f->cfg.id), exchange_peer_name(p),
	    im->entry_count, refused);
	pull_wake(f);
}
