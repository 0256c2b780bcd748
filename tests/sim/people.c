/*
 * People and their programs: they act on the disk, and know of no engine.
 *
 * Whatever bytes they write were never written before.  The oracle is told
 * what they write over, delete, rename or touch before they do it.
 */
#include <stdio.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/rng.h"
#include "history.h"

#define BIG_LEN 300000u

static uint32_t
pick(struct history *h, uint32_t n)
{
	return choice_below(&h->sim.choice, n);
}

static struct node *
node_of(struct history *h, uint32_t node)
{
	return &h->sim.node[node];
}

/* Names: a few, so that people meet; some below others. */
void
people_path(struct history *h, char path[HISTORY_PATH_LEN])
{
	static const char *const dir[] = { "", "d/", "e/", "d/d/" };
	static const char *const name[] = { "a", "b", "c", "d", "e", "f", "g",
		"h", "i", "j", "k", "l" };
	static const char *const spelled[] = { "A", "B", "\xc3\xa9",
		"e\xcc\x81" };
	const char *in = dir[h->set.dirs ? pick(h, 4) : 0];
	const char *base = name[pick(h, h->set.names)];
	const uint32_t odd = pick(h, 8);

	if (h->set.spellings && (odd == 4 || odd == 5))
		base = spelled[odd - 4];
	if (h->set.accents && odd >= 6)
		base = spelled[odd - 4];
	snprintf(path, HISTORY_PATH_LEN, "%s%s%s", in, base,
	    h->set.ignores && odd == 3 && in[0] == '\0' ? ".ign" : "");
}

static bool
flushes(struct history *h)
{
	return !h->set.unflushed || pick(h, 2) != 0;
}

static void
hint(struct history *h, uint32_t node, const char *path, const char *other,
    bool subtree)
{
	sim_hint(&h->sim, node, slice_str(path),
	    other == NULL ? SLICE_EMPTY : slice_str(other), subtree);
}

/* Bytes nobody wrote before. */
static void
put_new(struct history *h, struct buf *out, uint32_t node)
{
	const uint32_t odd = pick(h, 16);

	buf_printf(out, "%c%u.", (char)('A' + node), h->next_token++);
	if (h->set.big && odd == 15) {
		const uint32_t len = pick(h, BIG_LEN);
		struct rng fill;
		const size_t at = out->len;

		sim_count(&h->sim, COUNT_BIG_FILE);
		rng_init(&fill, h->next_token * 7919u);
		buf_extend(out, len);
		out->len = at + len;
		for (uint32_t i = 0; i < len; i++)
			out->ptr[at + i] =
			    (uint8_t)('a' + (rng_u64(&fill) >> 60));
	}
}

static void
spend(struct history *h, uint32_t node, const char *path)
{
	const struct vnode *in = vdisk_find(node_of(h, node)->disk, path);

	if (in != NULL && vdisk_is_writable(node_of(h, node)->disk))
		oracle_spent(&h->sim.oracle, in);
}

static struct token *
token_at(struct history *h, uint32_t node, const char *path)
{
	const struct vnode *in = vdisk_find(node_of(h, node)->disk, path);

	return in == NULL ? NULL : in->token;
}

static void
touch(struct history *h, uint32_t node, const char *path)
{
	const struct vnode *in = vdisk_find(node_of(h, node)->disk, path);

	if (in != NULL)
		oracle_touched(&h->sim.oracle, in);
}

/* Of the history's arena: the disk borrows them for good. */
static struct slice
keep(struct history *h, struct buf *data)
{
	const struct slice s =
	    arena_dup(&h->sim.arena, slice_of(data->ptr, data->len));

	buf_fini(data);
	return s;
}

static void
do_write(struct history *h, uint32_t node, const char *path, bool append)
{
	struct node *nd = node_of(h, node);
	struct buf data = { 0 };
	struct slice bytes;
	struct token *old, *now;

	if (vdisk_is_dir(nd->disk, path) || !vdisk_is_writable(nd->disk))
		return;
	if (append)
		buf_put(&data, vdisk_read(nd->disk, path));
	put_new(h, &data, node);
	bytes = keep(h, &data);
	/* Its parent may be missing: then nothing is written. */
	old = token_at(h, node, path);
	spend(h, node, path);
	now = oracle_written(&h->sim.oracle, bytes);
	if (vdisk_write(nd->disk, path, bytes, flushes(h))) {
		oracle_told(&h->sim.oracle, path, old, now);
		sim_say(nd, "person %s %s: %.*s",
		    append ? "appends to" : "writes", path,
		    (int)(bytes.len < 40 ? bytes.len : 40),
		    (const char *)bytes.ptr);
	} else {
		oracle_unwritten(&h->sim.oracle, bytes);
	}
	hint(h, node, path, NULL, false);
}

/* Written beside and renamed over, as editors do. */
static void
do_save(struct history *h, uint32_t node, const char *path)
{
	struct node *nd = node_of(h, node);
	struct buf data = { 0 };
	struct slice bytes;
	struct token *old, *now;
	const bool flushed = flushes(h);

	if (vdisk_is_dir(nd->disk, path) || !vdisk_is_writable(nd->disk))
		return;
	put_new(h, &data, node);
	bytes = keep(h, &data);
	old = token_at(h, node, path);
	spend(h, node, "tmp.ign"); /* of a save that the power ended */
	now = oracle_written(&h->sim.oracle, bytes);
	if (vdisk_write(nd->disk, "tmp.ign", bytes, flushed)) {
		spend(h, node, path);
		if (vdisk_rename(nd->disk, "tmp.ign", path, flushed)) {
			oracle_told(&h->sim.oracle, path, old, now);
			sim_say(nd, "person saves %s: %.*s", path,
			    (int)(bytes.len < 40 ? bytes.len : 40),
			    (const char *)bytes.ptr);
		} else {
			vdisk_remove(nd->disk, "tmp.ign", flushed);
			oracle_unwritten(&h->sim.oracle, bytes);
		}
	} else {
		oracle_unwritten(&h->sim.oracle, bytes);
	}
	hint(h, node, path, "tmp.ign", false);
}

static void
remove_below(struct history *h, uint32_t node, const char *path, bool flushed)
{
	struct vdisk *dk = node_of(h, node)->disk;
	const struct vnode *in = vdisk_find(dk, path);
	char sub[300];

	while (in != NULL && in->names > 0) {
		const uint32_t before = in->names;

		snprintf(sub, sizeof(sub), "%s/%.*s", path,
		    SLICE_FMT(in->name[0].name));
		remove_below(h, node, sub, flushed);
		if (in->names == before)
			return;
	}
	if (in != NULL && in->token != NULL)
		oracle_told(&h->sim.oracle, path, in->token, NULL);
	vdisk_remove(dk, path, flushed);
}

static void
do_remove(struct history *h, uint32_t node, const char *path)
{
	struct node *nd = node_of(h, node);

	if (!vdisk_has(nd->disk, path) || !vdisk_is_writable(nd->disk))
		return;
	spend(h, node, path);
	sim_say(nd, "person removes %s", path);
	remove_below(h, node, path, flushes(h));
	hint(h, node, path, NULL, true);
}

static bool
rename_one(struct history *h, uint32_t node, const char *from, const char *to,
    bool flushed)
{
	struct node *nd = node_of(h, node);
	const struct vnode *in = vdisk_find(nd->disk, from);

	if (in == NULL || !vdisk_rename(nd->disk, from, to, flushed))
		return false;
	if (in->id.type == IDENTITY_DIR)
		sim_count(&h->sim, COUNT_DIR_MOVED);
	sim_say(nd, "person renames %s to %s", from, to);
	hint(h, node, from, to, true);
	return true;
}

static void
do_rename(struct history *h, uint32_t node, const char *from, const char *to)
{
	struct node *nd = node_of(h, node);
	const struct vnode *in = vdisk_find(nd->disk, from);
	const struct vnode *old = vdisk_find(nd->disk, to);

	if (in == NULL || strcmp(from, to) == 0 || !vdisk_is_writable(nd->disk))
		return;
	touch(h, node, from);
	if (old != NULL && old != in && old->id.type != IDENTITY_DIR &&
	    in->id.type != IDENTITY_DIR) {
		touch(h, node, to);
		spend(h, node, to);
	}
	if (old == in)
		sim_count(&h->sim, COUNT_CASE_RENAME);
	rename_one(h, node, from, to, flushes(h));
}

static void
do_swap(struct history *h, uint32_t node, const char *a, const char *b)
{
	struct node *nd = node_of(h, node);
	const size_t la = strlen(a), lb = strlen(b);
	const bool flushed = flushes(h);

	if (!vdisk_has(nd->disk, a) || !vdisk_has(nd->disk, b) ||
	    vdisk_find(nd->disk, a) == vdisk_find(nd->disk, b) ||
	    strncmp(a, b, la < lb ? la : lb) == 0 ||
	    !vdisk_is_writable(nd->disk))
		return;
	touch(h, node, a);
	touch(h, node, b);
	spend(h, node, "swap"); /* of a swap that the power ended */
	if (rename_one(h, node, a, "swap", flushed) &&
	    rename_one(h, node, b, a, flushed))
		rename_one(h, node, "swap", b, flushed);
}

static void
do_case(struct history *h, uint32_t node, char path[HISTORY_PATH_LEN])
{
	char to[HISTORY_PATH_LEN];
	const size_t last = strlen(path) - 1;

	snprintf(to, sizeof(to), "%s", path);
	if (to[last] >= 'a' && to[last] <= 'z')
		to[last] = (char)(to[last] - 32);
	else if (to[last] >= 'A' && to[last] <= 'Z')
		to[last] = (char)(to[last] + 32);
	do_rename(h, node, path, to);
}

static void
do_chmod(struct history *h, uint32_t node, const char *path)
{
	static const uint32_t mode[] = { 0644, 0600, 0755, 0444 };
	static const uint32_t dir_mode[] = { 0755, 0700, 0555, 0750 };
	struct node *nd = node_of(h, node);
	const uint32_t which = pick(h, 4);

	touch(h, node, path);
	if (vdisk_chmod(nd->disk, path,
		vdisk_is_dir(nd->disk, path) ? dir_mode[which] : mode[which])) {
		sim_say(nd, "person chmods %s", path);
		hint(h, node, path, NULL, false);
	}
}

static void
do_utimes(struct history *h, uint32_t node, const char *path)
{
	static const int64_t when[] = { 1000000000, 0, -1, 4294967296 };
	struct node *nd = node_of(h, node);

	touch(h, node, path);
	if (vdisk_utimes(nd->disk, path, when[pick(h, 4)])) {
		sim_say(nd, "person sets the time of %s", path);
		hint(h, node, path, NULL, false);
	}
}

static void
do_mkdir(struct history *h, uint32_t node, const char *path)
{
	struct node *nd = node_of(h, node);

	if (vdisk_mkdir(nd->disk, path, flushes(h))) {
		sim_say(nd, "person makes %s", path);
		hint(h, node, path, NULL, false);
	}
}

static void
do_link(struct history *h, uint32_t node, const char *path)
{
	struct node *nd = node_of(h, node);
	char target[32];

	snprintf(target, sizeof(target), "to%u", pick(h, 3));
	if (vdisk_link(nd->disk, path, target, flushes(h))) {
		sim_say(nd, "person links %s", path);
		hint(h, node, path, NULL, false);
	}
}

/* Something else of that name. */
static void
do_type(struct history *h, uint32_t node, const char *path)
{
	const uint32_t what = pick(h, 3);
	char in[HISTORY_PATH_LEN + 2];

	do_remove(h, node, path);
	if (what == 0) {
		do_write(h, node, path, false);
	} else if (what == 1 && h->set.links) {
		do_link(h, node, path);
	} else if (h->set.dirs) {
		do_mkdir(h, node, path);
		snprintf(in, sizeof(in), "%s/%c", path, 'a' + (int)pick(h, 2));
		do_write(h, node, in, false);
	}
}

/* It writes on by its descriptor, wherever the file has gone meanwhile. */
static void
write_on(struct history *h, uint32_t node)
{
	struct node *nd = node_of(h, node);
	struct vnode *in = h->open[node];
	struct buf data = { 0 };
	struct slice bytes;

	h->open[node] = NULL;
	/* What is written to a file in the trash can is in the trash can. */
	if (in->parent == NULL || !vdisk_is_writable(nd->disk) ||
	    (!in->visible && !vdisk_is_staged(nd->disk, in)))
		return;
	buf_put(&data, in->data);
	put_new(h, &data, node);
	bytes = keep(h, &data);
	if (in->token != NULL)
		oracle_spent(&h->sim.oracle, in);
	oracle_touched(&h->sim.oracle, in);
	oracle_written(&h->sim.oracle, bytes)->touched = true;
	sim_say(nd, "person writes on: %.*s",
	    (int)(bytes.len < 40 ? bytes.len : 40), (const char *)bytes.ptr);
	if (!vdisk_write_open(nd->disk, in, bytes))
		oracle_unwritten(&h->sim.oracle, bytes);
	if (in->visible)
		sim_hint(&h->sim, node, SLICE_EMPTY, SLICE_EMPTY, true);
}

static void
do_open(struct history *h, uint32_t node, const char *path)
{
	if (h->open[node] != NULL)
		write_on(h, node);
	else
		h->open[node] = vdisk_open(node_of(h, node)->disk, path);
}

/* Just when the file was taken off its name. */
void
people_write_on(struct history *h)
{
	for (uint32_t i = 0; i < h->sim.nodes; i++)
		if (h->open[i] != NULL &&
		    vdisk_is_staged(node_of(h, i)->disk, h->open[i]) &&
		    choice_strikes(&h->sim.choice, 3))
			write_on(h, i);
}

static void
put_rules(struct history *h, uint32_t node, uint32_t which)
{
	static const char *const rules[] = { "*.ign\n", "*.ign\nzz\n",
		"*.ign\n/nothing\n" };
	struct node *nd = node_of(h, node);
	static const char *const hiding[] = { "*.ign\n", "*.ign\n/a\n",
		"*.ign\n/d\n" };
	const struct slice text =
	    slice_str(h->set.hides ? hiding[which] : rules[which]);

	/* Flushed: of "*.ign" a power cut may leave "*", and that is a rule. */
	if (!vdisk_write(nd->disk, ".stignore", text, true))
		return;
	sim_count(&h->sim, COUNT_IGNORES_CHANGED);
	sim_say(nd, "person edits the ignore rules");
	hint(h, node, ".stignore", NULL, false);
}

static void
do_ignores(struct history *h, uint32_t node)
{
	put_rules(h, node, pick(h, 3));
}

/* Who hides a file from the others goes on working on it, at once. */
static void
do_hide(struct history *h, uint32_t node)
{
	put_rules(h, node, 1);
	if (choice_weather(&h->sim.choice, 4) != 0)
		do_write(h, node, "a", false);
}

static void
put_path(char path[HISTORY_PATH_LEN], struct slice at)
{
	memcpy(path, at.ptr, at.len);
	path[at.len] = '\0';
}

/*
 * At times a person is at just what the device is about to act on; or, where
 * answers come late, at what it has just acted on and does not know it yet.
 */
static void
meet(struct history *h, uint32_t node, char path[HISTORY_PATH_LEN])
{
	const struct sim *s = &h->sim;
	const struct node *nd = node_of(h, node);

	if (choice_weather(&h->sim.choice, 2) == 0)
		return;
	for (size_t i = 0; i < s->heap.len; i++) {
		const struct job *job = s->heap.item[i];
		const struct slice at = job->effect.path;

		if (job->kind != JOB_EFFECT || job->node != node ||
		    job->effect.kind < EFFECT_FINISH_FILE ||
		    job->effect.kind > EFFECT_PUT_BACK || at.len == 0 ||
		    at.len >= HISTORY_PATH_LEN || job->life != nd->life)
			continue;
		put_path(path, at);
		return;
	}
	if (s->late > 0 && nd->acted.len > 0 &&
	    nd->acted.len < HISTORY_PATH_LEN &&
	    s->now.mono_ns - nd->acted_ns < 4 * s->delay_ns)
		put_path(path, nd->acted);
}

void
people_work_on(struct history *h, uint32_t node)
{
	struct node *nd = node_of(h, node);
	const struct vnode *root = vdisk_root(nd->disk);
	uint64_t at = choice_weather(&h->sim.choice, root->names);
	char path[HISTORY_PATH_LEN];

	people_path(h, path);
	for (uint32_t i = 0; i < root->names; i++, at++) {
		const struct vname *vn = &root->name[at % root->names];

		if (vn->node->id.type != IDENTITY_FILE || !vn->node->visible ||
		    vn->name.len >= HISTORY_PATH_LEN)
			continue;
		put_path(path, vn->name);
		break;
	}
	h->sim.oracle.person = true;
	vdisk_set_time(nd->disk, sim_now(nd).wall_ns);
	do_write(h, node, path, false);
	h->sim.oracle.person = false;
	oracle_check(&h->sim.oracle);
}

void
people_act(struct history *h, uint32_t node)
{
	const struct settings *set = &h->set;
	char path[HISTORY_PATH_LEN], to[HISTORY_PATH_LEN];
	const uint32_t what = pick(h, 100);

	people_path(h, path);
	people_path(h, to);
	meet(h, node, path);
	h->sim.oracle.person = true;
	vdisk_set_time(node_of(h, node)->disk,
	    sim_now(node_of(h, node)).wall_ns);
	if (set->works_on && choice_weather(&h->sim.choice, 12) == 11)
		do_hide(h, node);
	else if (what < 28)
		do_write(h, node, path, false);
	else if (what < 34)
		do_write(h, node, path, true);
	else if (what < 42)
		do_save(h, node, path);
	else if (what < 54)
		do_remove(h, node, path);
	else if (what < 68 && set->moves)
		do_rename(h, node, path, to);
	else if (what < 73 && set->moves)
		do_swap(h, node, path, to);
	else if (what < 76 && set->spellings)
		do_case(h, node, path);
	else if (what < 83 && set->dirs)
		do_mkdir(h, node, path);
	else if (what < 87 && set->chmods)
		do_chmod(h, node, path);
	else if (what < 89 && set->utimes)
		do_utimes(h, node, path);
	else if (what < 92 && set->links)
		do_link(h, node, path);
	else if (what < 95 && set->opens)
		do_open(h, node, path);
	else if (what < 96 && set->ignores)
		do_ignores(h, node);
	else if (what < 98)
		do_type(h, node, path);
	else
		do_write(h, node, path, false);
	h->sim.oracle.person = false;
	oracle_check(&h->sim.oracle);
}
