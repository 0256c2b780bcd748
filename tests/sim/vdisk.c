/*
 * The disk: objects, names, and what is durable of both.  See vdisk.h.
 */
#include "vdisk_impl.h"

#include <string.h>

#include "blockproto/entry.h"
#include "engine/base/assert.h"
#include "engine/base/hash.h"
#include "engine/base/mem.h"
#include "engine/base/nfc.h"
#include "engine/base/path.h"

/* Names */

static uint8_t
fold(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/* The next letter of a name: e and an acute accent are one. */
static uint32_t
letter(struct slice *s)
{
	const uint8_t *p = s->ptr;
	size_t len = 1;
	uint32_t v = p[0];

	if (s->len >= 2 && p[0] == 0xc3 && p[1] == 0xa9) {
		len = 2;
		v = 0xe9;
	} else if (s->len >= 3 && p[0] == 'e' && p[1] == 0xcc && p[2] == 0x81) {
		len = 3;
		v = 0xe9;
	}
	*s = slice_from(*s, len);
	return v;
}

bool
vdisk_same_name(const struct vdisk *dk, struct slice a, struct slice b)
{
	if (dk->make.names == VDISK_EXACT)
		return slice_equal(a, b);
	while (a.len > 0 && b.len > 0) {
		uint32_t x = letter(&a), y = letter(&b);

		if (dk->make.names == VDISK_FOLDS && x < 128 && y < 128) {
			x = fold((uint8_t)x);
			y = fold((uint8_t)y);
		}
		if (x != y)
			return false;
	}
	return a.len == 0 && b.len == 0;
}

struct vname *
vdisk_lookup(const struct vdisk *dk, const struct vnode *dir, struct slice name)
{
	for (uint32_t i = 0; i < dir->names; i++)
		if (vdisk_same_name(dk, dir->name[i].name, name))
			return &dir->name[i];
	return NULL;
}

struct vnode *
vdisk_child(const struct vdisk *dk, const struct vnode *dir, struct slice name)
{
	const struct vname *vn =
	    dir == NULL ? NULL : vdisk_lookup(dk, dir, name);

	return vn == NULL ? NULL : vn->node;
}

struct vnode *
vdisk_parent(const struct vdisk *dk, struct slice path)
{
	struct vnode *in = dk->root;
	struct slice rest = path_parent(path);

	while (rest.len > 0 && in != NULL) {
		const size_t slash = slice_find(rest, '/');
		const size_t end = slash == SIZE_MAX ? rest.len : slash;

		in = vdisk_child(dk, in, slice_to(rest, end));
		rest = slash == SIZE_MAX ? SLICE_EMPTY
					 : slice_from(rest, slash + 1);
	}
	return in != NULL && in->id.type == IDENTITY_DIR ? in : NULL;
}

struct vnode *
vdisk_walk(const struct vdisk *dk, struct slice path)
{
	if (path.len == 0)
		return dk->root;
	return vdisk_child(dk, vdisk_parent(dk, path), path_base(path));
}

/* Objects */

void
vdisk_stamp(struct vdisk *dk, struct vnode *in)
{
	dk->now_ns++;
	in->id.ctime_s = dk->now_ns / 1000000000;
	in->id.ctime_ns = (int32_t)(dk->now_ns % 1000000000);
	in->meta_clean = false;
}

void
vdisk_rename_stamp(struct vdisk *dk, struct vnode *in)
{
	const bool clean = in->meta_clean;

	vdisk_stamp(dk, in);
	in->meta_clean = clean;
	if (clean)
		in->had_id = in->id;
}

void
vdisk_touch(struct vdisk *dk, struct vnode *in)
{
	vdisk_stamp(dk, in);
	in->id.mtime_s = in->id.ctime_s;
	in->id.mtime_ns = in->id.ctime_ns;
}

struct vnode *
vdisk_node(struct vdisk *dk, enum identity_type type, uint32_t mode)
{
	struct vnode *in = arena_zalloc(dk->make.arena, sizeof(*in));

	in->id.type = type;
	in->id.mode = mode;
	in->id.dev = 1;
	if (dk->make.reuses && dk->free_ino.len > 0)
		in->id.ino = dk->free_ino.item[--dk->free_ino.len];
	else
		in->id.ino = ++dk->next_ino;
	vdisk_touch(dk, in);
	return in;
}

void
vdisk_set_data(struct vdisk *dk, struct vnode *in, struct slice data)
{
	const bool named = in->token != NULL || in->parent != NULL;

	if (named)
		oracle_unnamed(dk->make.oracle, in);
	if (in->id.type == IDENTITY_FILE)
		dk->used += (int64_t)data.len - (int64_t)in->data.len;
	in->data = data;
	in->id.size = (int64_t)data.len;
	in->clean = false;
	in->lost_pages = false;
	if (named)
		oracle_named(dk->make.oracle, in);
}

void
vdisk_retire(struct vdisk *dk, struct vnode *in)
{
	*VEC_ADD(&dk->retired) = in->id.ino;
}

/* Sorted arrays of names, in the arena. */

static void
names_put(struct arena *ar, struct vname **list, uint32_t *len, uint32_t *cap,
    struct slice name, struct vnode *to)
{
	uint32_t i = 0;

	while (i < *len && slice_cmp((*list)[i].name, name) < 0)
		i++;
	if (i < *len && slice_equal((*list)[i].name, name)) {
		(*list)[i].node = to;
		return;
	}
	if (*len == *cap) {
		struct vname *more;

		*cap = *cap == 0 ? 4 : *cap * 2;
		more = arena_alloc(ar, *cap * sizeof(*more));
		if (*len > 0)
			memcpy(more, *list, *len * sizeof(*more));
		*list = more;
	}
	memmove(&(*list)[i + 1], &(*list)[i], (*len - i) * sizeof(**list));
	(*list)[i] = (struct vname){ name, to };
	++*len;
}

static void
names_remove(struct vname *list, uint32_t *len, struct slice name)
{
	for (uint32_t i = 0; i < *len; i++)
		if (slice_equal(list[i].name, name)) {
			memmove(&list[i], &list[i + 1],
			    (*len - i - 1) * sizeof(*list));
			--*len;
			return;
		}
}

/* Changes */

void
vdisk_edge(struct vdisk *dk, struct vchange *ch, struct vnode *dir,
    struct slice name, struct vnode *to)
{
	const struct vname *there = vdisk_lookup(dk, dir, name);

	ASSERT(ch->count < VDISK_EDGES);
	/* A name keeps the spelling it was made with. */
	ch->edge[ch->count++] = (struct vedge){
		.dir = dir,
		.name = there != NULL ? there->name
				      : arena_dup(dk->make.arena, name),
		.to = to,
	};
}

static bool
is_visible(const struct vdisk *dk, const struct vnode *dir, struct slice name)
{
	return dir->visible && !(dir == dk->root && entry_is_internal(name));
}

static void
name_off(struct vdisk *dk, struct vnode *in)
{
	oracle_unnamed(dk->make.oracle, in);
	in->parent = NULL;
}

/* What is below a directory that moved is as visible as it. */
static void
set_visible(struct vnode *in, bool visible)
{
	in->visible = visible;
	if (in->id.type == IDENTITY_DIR)
		for (uint32_t i = 0; i < in->names; i++)
			set_visible(in->name[i].node, visible);
}

/* All off first, then all on: of an exchange nothing is ever nowhere. */
void
vdisk_apply(struct vdisk *dk, const struct vchange *ch)
{
	for (uint32_t i = 0; i < ch->count; i++) {
		const struct vedge *e = &ch->edge[i];
		struct vname *vn = vdisk_lookup(dk, e->dir, e->name);

		if (vn != NULL && vn->node->parent == e->dir)
			name_off(dk, vn->node);
		if (vn != NULL && e->to == NULL)
			names_remove(e->dir->name, &e->dir->names, e->name);
	}
	for (uint32_t i = 0; i < ch->count; i++) {
		const struct vedge *e = &ch->edge[i];

		vdisk_touch(dk, e->dir);
		if (e->to == NULL)
			continue;
		names_put(dk->make.arena, &e->dir->name, &e->dir->names,
		    &e->dir->names_cap, e->name, e->to);
		e->to->parent = e->dir;
		set_visible(e->to, is_visible(dk, e->dir, e->name));
		oracle_named(dk->make.oracle, e->to);
	}
	*VEC_ADD(&dk->pending) = *ch;
}

/* Flushes */

void
vdisk_flush_node(struct vnode *in)
{
	if (in->lost_pages)
		return;
	in->clean = in->meta_clean = in->had = true;
	in->had_id = in->id;
	in->had_data = in->data;
	if (in->token != NULL)
		in->token->safe = true;
}

void
vdisk_fail_flush(struct vnode *in)
{
	if (!in->clean)
		in->lost_pages = true;
}

static void
fail_below(struct vnode *in)
{
	if (in->id.type == IDENTITY_FILE)
		vdisk_fail_flush(in);
	if (in->id.type == IDENTITY_DIR)
		for (uint32_t i = 0; i < in->names; i++)
			fail_below(in->name[i].node);
}

void
vdisk_fail_flushes(struct vdisk *dk)
{
	fail_below(dk->root);
}

static void
edge_durable(struct vdisk *dk, const struct vedge *e)
{
	if (e->to == NULL)
		names_remove(e->dir->had_name, &e->dir->had_names, e->name);
	else
		names_put(dk->make.arena, &e->dir->had_name, &e->dir->had_names,
		    &e->dir->had_names_cap, e->name, e->to);
}

static void
change_durable(struct vdisk *dk, const struct vchange *ch)
{
	for (uint32_t i = 0; i < ch->count; i++)
		edge_durable(dk, &ch->edge[i]);
}

static bool
change_meets(const struct vchange *a, const struct vchange *b)
{
	for (uint32_t i = 0; i < a->count; i++)
		for (uint32_t k = 0; k < b->count; k++) {
			const struct vedge *x = &a->edge[i], *y = &b->edge[k];

			if ((x->to != NULL && x->to == y->to) ||
			    (x->dir == y->dir && slice_equal(x->name, y->name)))
				return true;
		}
	return false;
}

static bool
change_concerns(const struct vchange *ch, const struct vnode *dir)
{
	for (uint32_t i = 0; i < ch->count; i++)
		if (ch->edge[i].dir == dir)
			return true;
	return false;
}

/* Make those durable for which take[i]; the rest stays pending. */
static void
pending_take(struct vdisk *dk, const bool *take)
{
	size_t kept = 0;

	for (size_t i = 0; i < dk->pending.len; i++)
		if (take[i])
			change_durable(dk, &dk->pending.item[i]);
		else
			dk->pending.item[kept++] = dk->pending.item[i];
	dk->pending.len = kept;
}

/* What these changes name is later in the journal. */
static void
mark_later(struct vdisk *dk, size_t from, uint32_t mark)
{
	for (size_t i = from; i < dk->pending.len; i++)
		for (uint32_t k = 0; k < dk->pending.item[i].count; k++)
			if (dk->pending.item[i].edge[k].to != NULL)
				dk->pending.item[i].edge[k].to->mark = mark;
}

/* A journal has all attributes that were set before. */
static void
flush_meta(struct vnode *in)
{
	if (in->clean && !in->meta_clean && in->mark == 0) {
		in->meta_clean = true;
		in->had_id = in->id;
	}
	if (in->id.type == IDENTITY_DIR)
		for (uint32_t i = 0; i < in->names; i++)
			flush_meta(in->name[i].node);
}

void
vdisk_flush_dir(struct vdisk *dk, struct vnode *dir)
{
	const size_t n = dk->pending.len;
	bool *take = arena_zalloc(dk->make.arena, n + 1);
	size_t last = 0;

	for (size_t i = n; i-- > 0;) {
		take[i] = take[i] || change_concerns(&dk->pending.item[i], dir);
		if (!take[i])
			continue;
		if (last == 0)
			last = i + 1;
		/* What it builds upon comes with it. */
		for (size_t k = 0; k < i; k++)
			take[k] = take[k] || change_meets(&dk->pending.item[k],
						 &dk->pending.item[i]);
	}
	if (dk->make.model == VDISK_ORDERED) {
		memset(take, 1, last);
		mark_later(dk, last, 1);
		flush_meta(dk->root);
		mark_later(dk, last, 0);
	}
	pending_take(dk, take);
	vdisk_flush_node(dir);
}

static void
flush_below(struct vnode *in)
{
	vdisk_flush_node(in);
	if (in->id.type == IDENTITY_DIR)
		for (uint32_t i = 0; i < in->names; i++)
			flush_below(in->name[i].node);
}

void
vdisk_flush(struct vdisk *dk)
{
	for (size_t i = 0; i < dk->pending.len; i++)
		change_durable(dk, &dk->pending.item[i]);
	VEC_CLEAR(&dk->pending);
	flush_below(dk->root);
	for (size_t i = 0; i < dk->retired.len; i++)
		*VEC_ADD(&dk->free_ino) = dk->retired.item[i];
	VEC_CLEAR(&dk->retired);
}

static bool
is_clean_below(const struct vnode *in)
{
	if (in->id.type == IDENTITY_FILE && !in->clean)
		return false;
	if (in->id.type == IDENTITY_DIR)
		for (uint32_t i = 0; i < in->names; i++)
			if (!is_clean_below(in->name[i].node))
				return false;
	return true;
}

bool
vdisk_is_flushed(const struct vdisk *dk)
{
	return dk->pending.len == 0 && is_clean_below(dk->root);
}

/* The power */

static void
lose_names(struct vdisk *dk)
{
	struct choice *c = dk->make.choice;
	const size_t n = dk->pending.len;
	bool *take = arena_zalloc(dk->make.arena, n + 1);

	if (dk->make.model == VDISK_ORDERED) {
		memset(take, 1, choice_weather(c, n + 1));
	} else {
		for (size_t i = 0; i < n; i++)
			take[i] = choice_weather(c, 2) != 0;
		for (size_t i = 0; i < n; i++)
			for (size_t k = 0; k < i; k++)
				if (!take[k] &&
				    change_meets(&dk->pending.item[k],
					&dk->pending.item[i]))
					take[i] = false;
	}
	pending_take(dk, take);
	VEC_CLEAR(&dk->pending);
}

/* New up to somewhere, then what was there before, or zeroes. */
static struct slice
torn(struct vdisk *dk, const struct vnode *in)
{
	struct choice *c = dk->make.choice;
	uint8_t *data = arena_zalloc(dk->make.arena, in->data.len + 1);
	const size_t cut = choice_weather(c, in->data.len);
	const size_t old =
	    in->had_data.len < in->data.len ? in->had_data.len : in->data.len;

	if (in->had && choice_weather(c, 2) == 0)
		memcpy(data, in->had_data.ptr, old);
	memcpy(data, in->data.ptr, cut);
	return slice_of(data, in->ours ? in->data.len : cut);
}

static void
lose_data(struct vdisk *dk, struct vnode *in)
{
	struct choice *c = dk->make.choice;
	const uint64_t fate =
	    choice_weather(c, dk->make.model == VDISK_HOSTILE ? 5 : 3);

	if (in->clean || in->id.type != IDENTITY_FILE) {
		/* What was set after a rename that is lost is lost, too. */
		if (in->had && !in->meta_clean &&
		    (choice_weather(c, 2) == 0 || in->parent != in->was_in))
			in->id = in->had_id;
		return;
	}
	if (fate == 0 && in->had) {
		in->id = in->had_id;
		in->data = in->had_data;
	} else if (fate == 1 && !in->lost_pages) {
		return; /* it was written back just in time */
	} else if (fate <= 2) {
		in->data = SLICE_EMPTY;
		in->id.size = 0;
	} else if (in->data.len > 0) {
		in->data = torn(dk, in);
		in->id.size = (int64_t)in->data.len;
	}
}

/* The durable names are the names; what has none is no more. */
static void
rebuild(struct vdisk *dk, struct vnode *in)
{
	static const struct vname none;

	in->mark = 1;
	lose_data(dk, in);
	in->lost_pages = false;
	vdisk_flush_node(in);
	if (in->id.type == IDENTITY_FILE)
		dk->used += (int64_t)in->data.len;
	if (in->id.type != IDENTITY_DIR)
		return;
	in->names = in->names_cap = 0;
	in->name = NULL;
	for (uint32_t i = 0; i < in->had_names; i++) {
		struct vname vn = in->had_name[i];

		if (vn.node->mark != 0) {
			/* Under two names, after half a rename: two files. */
			struct vnode *copy =
			    arena_alloc(dk->make.arena, sizeof(*copy));

			if (vn.node->id.type == IDENTITY_DIR)
				continue;
			*copy = *vn.node;
			copy->token = NULL;
			copy->id.ino = ++dk->next_ino;
			vn.node = copy;
		}
		names_put(dk->make.arena, &in->name, &in->names, &in->names_cap,
		    vn.name, vn.node);
		vn.node->parent = in;
		vn.node->visible = is_visible(dk, in, vn.name);
		rebuild(dk, vn.node);
		oracle_named(dk->make.oracle, vn.node);
	}
	in->had_name =
	    arena_alloc(dk->make.arena, (in->names + 1) * sizeof(none));
	if (in->names > 0)
		memcpy(in->had_name, in->name, in->names * sizeof(none));
	in->had_names = in->had_names_cap = in->names;
}

static bool
has_durable_name(const struct vnode *in)
{
	const struct vnode *dir = in->parent;

	for (uint32_t i = 0; dir != NULL && i < dir->had_names; i++)
		if (dir->had_name[i].node == in)
			return dir->parent == NULL || has_durable_name(dir);
	return false;
}

/* What people did not flush. */
static void
tell_risks(struct vdisk *dk, const struct vnode *in)
{
	if (in->id.type == IDENTITY_FILE && !in->ours &&
	    (!in->clean || !has_durable_name(in)))
		oracle_at_risk(dk->make.oracle, in);
	if (in->id.type == IDENTITY_DIR)
		for (uint32_t i = 0; i < in->names; i++)
			tell_risks(dk, in->name[i].node);
}

static void
unname_below(struct vdisk *dk, struct vnode *in)
{
	in->mark = 0;
	in->was_in = in->parent;
	if (in->parent != NULL)
		name_off(dk, in);
	if (in->id.type == IDENTITY_DIR)
		for (uint32_t i = 0; i < in->names; i++)
			unname_below(dk, in->name[i].node);
}

static void
unmark_below(struct vnode *in)
{
	in->mark = 0;
	if (in->id.type == IDENTITY_DIR)
		for (uint32_t i = 0; i < in->had_names; i++)
			unmark_below(in->had_name[i].node);
}

void
vdisk_power_loss(struct vdisk *dk)
{
	dk->make.oracle->machine = true;
	tell_risks(dk, dk->root);
	unname_below(dk, dk->root);
	VEC_CLEAR(&dk->retired); /* some of them are back */
	lose_names(dk);
	unmark_below(dk->root);
	dk->used = 0;
	rebuild(dk, dk->root);
	dk->marker = vdisk_child(dk, dk->root, SLICE_LIT(".stfolder"));
	dk->stage = vdisk_child(dk, dk->marker, SLICE_LIT("holdfast"));
	dk->make.oracle->machine = false;
	oracle_check_power(dk->make.oracle);
}

/* The disk as a whole */

struct vdisk *
vdisk_new(const struct vdisk_make *make)
{
	struct vdisk *dk = arena_zalloc(make->arena, sizeof(*dk));

	dk->make = *make;
	dk->next_ino = (uint64_t)make->number << 32;
	dk->now_ns = INT64_C(1700000000000000000);
	dk->room = INT64_MAX;
	dk->root = vdisk_node(dk, IDENTITY_DIR, 0755);
	dk->root->visible = true;
	vdisk_flush_node(dk->root);
	return dk;
}

void
vdisk_free(struct vdisk *dk)
{
	VEC_FINI(&dk->pending);
	VEC_FINI(&dk->retired);
	VEC_FINI(&dk->free_ino);
}

void
vdisk_set_time(struct vdisk *dk, int64_t wall_ns)
{
	/* Never the same twice, also where the clock goes backwards: what
	 * equals in every respect is not told apart by anybody. */
	if (wall_ns > dk->now_ns)
		dk->now_ns = wall_ns;
}

void
vdisk_set_trouble(struct vdisk *dk, const struct vdisk_trouble *trouble)
{
	dk->trouble = *trouble;
}

void
vdisk_set_room(struct vdisk *dk, int64_t bytes)
{
	dk->room = bytes;
}

void
vdisk_set_read_only(struct vdisk *dk, bool on)
{
	dk->read_only = on;
}

void
vdisk_set_away(struct vdisk *dk, enum vdisk_away away)
{
	dk->away = away;
}

bool
vdisk_is_here(const struct vdisk *dk)
{
	return dk->away == VDISK_HERE;
}

bool
vdisk_is_full(const struct vdisk *dk)
{
	return dk->room != INT64_MAX;
}

bool
vdisk_is_writable(const struct vdisk *dk)
{
	return dk->away == VDISK_HERE && !dk->read_only;
}

int64_t
vdisk_changes(const struct vdisk *dk)
{
	return dk->now_ns;
}

int64_t
vdisk_used(const struct vdisk *dk)
{
	return dk->used;
}

const struct vnode *
vdisk_root(const struct vdisk *dk)
{
	return dk->root;
}

size_t
vdisk_temps(const struct vdisk *dk)
{
	return dk->stage == NULL ? 0 : dk->stage->names;
}

bool
vdisk_has_kept(const struct vdisk *dk)
{
	for (size_t i = 0; i < vdisk_temps(dk); i++)
		if (dk->stage->name[i].node->token != NULL &&
		    !dk->stage->name[i].node->ours)
			return true;
	return false;
}

bool
vdisk_has_unflushed_temps(const struct vdisk *dk)
{
	for (size_t i = 0; i < vdisk_temps(dk); i++)
		if (dk->stage->name[i].node->ours &&
		    !dk->stage->name[i].node->clean)
			return true;
	return false;
}

/* The tree as text */

static void
dump_dir(const struct vnode *dir, struct slice path, struct buf *out,
    struct arena *arena)
{
	for (uint32_t i = 0; i < dir->names; i++) {
		const struct vnode *in = dir->name[i].node;
		const struct slice p =
		    path_join(arena, path, nfc_of(dir->name[i].name, arena));

		if (entry_is_internal(p) ||
		    slice_has_suffix(p, SLICE_LIT(".ign")))
			continue;
		buf_printf(out, "%.*s %c", SLICE_FMT(p), "?fdl?"[in->id.type]);
		if (in->id.type == IDENTITY_FILE)
			buf_printf(out, " %03o %lld.%09d %016llx",
			    in->id.mode & 0777u, (long long)in->id.mtime_s,
			    in->id.mtime_ns,
			    (unsigned long long)hash_u64(in->data));
		if (in->id.type == IDENTITY_DIR)
			buf_printf(out, " %03o", in->id.mode & 0777u);
		if (in->id.type == IDENTITY_LINK)
			buf_printf(out, " %.*s", SLICE_FMT(in->data));
		buf_put_u8(out, '\n');
		if (in->id.type == IDENTITY_DIR)
			dump_dir(in, p, out, arena);
	}
}

char *
vdisk_dump(struct vdisk *dk, struct arena *arena)
{
	struct buf out = { 0 };
	char *text;

	dump_dir(dk->root, SLICE_EMPTY, &out, arena);
	text = arena_str(arena, buf_slice(&out));
	buf_fini(&out);
	return text;
}
