/*
 * The oracle.  See oracle.h.
 */
#include "oracle.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/path.h"

#define HEADS_MAX 8u

void
oracle_init(struct oracle *oc, struct arena *arena)
{
	memset(oc, 0, sizeof(*oc));
	oc->arena = arena;
}

void
oracle_fini(struct oracle *oc)
{
	map_fini(&oc->by_data);
	map_fini(&oc->heads);
	VEC_FINI(&oc->all);
	VEC_FINI(&oc->suspects);
}

/* The first fault is the one to be told: others follow from it. */
void
oracle_fault(struct oracle *oc, const char *fmt, ...)
{
	va_list ap;

	if (oc->why[0] != '\0')
		return;
	va_start(ap, fmt);
	vsnprintf(oc->why, sizeof(oc->why), fmt, ap);
	va_end(ap);
}

static int
shown(struct slice data)
{
	return (int)(data.len < 24 ? data.len : 24);
}

static struct token *
token_add(struct oracle *oc, struct slice data)
{
	struct token *t = arena_zalloc(oc->arena, sizeof(*t));

	t->data = data;
	t->number = (uint32_t)oc->all.len;
	map_put(&oc->by_data, data, t);
	*VEC_ADD(&oc->all) = t;
	return t;
}

struct token *
oracle_written(struct oracle *oc, struct slice data)
{
	struct token *t = map_find(&oc->by_data, data);

	if (t == NULL)
		return token_add(oc, data);
	/* Written once more: it is wanted again. */
	t->spent = false;
	t->touched = true;
	return t;
}

void
oracle_unwritten(struct oracle *oc, struct slice data)
{
	struct token *t = map_find(&oc->by_data, data);

	if (t != NULL && t->places == 0)
		t->spent = true;
}

static void
each_token(const struct vnode *node, void (*fn)(struct token *t))
{
	if (node->token != NULL)
		fn(node->token);
	if (node->id.type == IDENTITY_DIR)
		for (uint32_t i = 0; i < node->names; i++)
			each_token(node->name[i].node, fn);
}

static void
token_spend(struct token *t)
{
	t->spent = true;
}

static void
token_touch(struct token *t)
{
	t->touched = true;
}

void
oracle_spent(struct oracle *oc, const struct vnode *node)
{
	(void)oc;
	each_token(node, token_spend);
}

/* What was said last at one path, by people who had not seen each other. */
struct heads {
	struct token *of[HEADS_MAX];
	uint32_t count;
	bool many; /* too many to be told apart: all of it is contested */
};

static bool
heads_take(struct heads *hd, const struct token *t)
{
	for (uint32_t i = 0; i < hd->count; i++)
		if (hd->of[i] == t) {
			hd->of[i] = hd->of[--hd->count];
			return true;
		}
	return t == NULL && hd->count == 0;
}

void
oracle_told(struct oracle *oc, const char *path, struct token *old,
    struct token *now)
{
	struct heads *hd = map_find(&oc->heads, slice_str(path));
	bool seen;

	if (hd == NULL) {
		hd = arena_zalloc(oc->arena, sizeof(*hd));
		map_put(&oc->heads, slice_str(path), hd);
	}
	seen = heads_take(hd, old);
	if (seen && hd->count == 0 && !hd->many) {
		if (now != NULL)
			hd->of[hd->count++] = now;
		return;
	}
	for (uint32_t i = 0; i < hd->count; i++)
		hd->of[i]->contested = true;
	if (old != NULL)
		old->contested = true;
	if (now != NULL)
		now->contested = true;
	if (now != NULL && hd->count < HEADS_MAX)
		hd->of[hd->count++] = now;
	else if (now != NULL)
		hd->many = true;
}

void
oracle_touched(struct oracle *oc, const struct vnode *node)
{
	(void)oc;
	each_token(node, token_touch);
}

/* What a machine made of a file that was being written when it went dark. */
static struct token *
token_garbage(struct oracle *oc, struct slice data)
{
	struct token *t = token_add(oc, data);

	t->spent = t->touched = t->garbage = true;
	return t;
}

void
oracle_named(struct oracle *oc, struct vnode *node)
{
	struct token *t;

	if (node->id.type != IDENTITY_FILE)
		return;
	t = map_find(&oc->by_data, node->data);
	if (t == NULL && node->visible) {
		/* A temp is named only when it is whole and flushed. */
		if (node->ours)
			oracle_fault(oc, "half-written: %zu bytes \"%.*s\"",
			    node->data.len, shown(node->data),
			    (const char *)node->data.ptr);
		t = token_garbage(oc, node->data);
	}
	node->token = t;
	if (t == NULL)
		return;
	t->places++;
	if (oc->machine)
		t->touched = true;
	if (node->clean)
		t->safe = true;
}

void
oracle_unnamed(struct oracle *oc, struct vnode *node)
{
	struct token *t = node->token;

	node->token = NULL;
	if (t == NULL)
		return;
	t->places--;
	if (oc->machine)
		t->touched = true;
	if (t->suspect)
		return;
	t->suspect = true;
	*VEC_ADD(&oc->suspects) = t;
}

static bool
is_lost(const struct token *t)
{
	return t->places == 0 && !t->spent;
}

static void
say_lost(struct oracle *oc, const struct token *t, const char *when)
{
	oracle_fault(oc, "lost%s: %.*s", when, shown(t->data),
	    (const char *)t->data.ptr);
}

void
oracle_check(struct oracle *oc)
{
	for (size_t i = 0; i < oc->suspects.len; i++) {
		struct token *t = oc->suspects.item[i];

		t->suspect = false;
		if (is_lost(t))
			say_lost(oc, t, "");
	}
	VEC_CLEAR(&oc->suspects);
}

void
oracle_at_risk(struct oracle *oc, const struct vnode *node)
{
	struct token *t = node->token;

	(void)oc;
	if (t == NULL || t->at_risk)
		return;
	t->at_risk = true;
	t->before = t->places;
}

void
oracle_check_power(struct oracle *oc)
{
	for (size_t i = 0; i < oc->suspects.len; i++) {
		struct token *t = oc->suspects.item[i];

		t->suspect = false;
		if (t->at_risk && t->places < t->before)
			t->spent = true;
		t->at_risk = false;
		if (is_lost(t) && t->safe)
			say_lost(oc, t, " with the power");
		else if (is_lost(t))
			t->spent = true;
	}
	VEC_CLEAR(&oc->suspects);
}

/* At the end */

static bool
is_conflict_name(struct slice name)
{
	for (size_t i = 0; i + 15 <= name.len; i++)
		if (memcmp(name.ptr + i, ".sync-conflict-", 15) == 0)
			return true;
	return false;
}

/* "notes" of "notes.sync-conflict-20261121-143000-ABCDEFG". */
static struct slice
original_name(struct slice name)
{
	for (size_t i = name.len - 15; i > 0; i--)
		if (memcmp(name.ptr + i, ".sync-conflict-", 15) == 0)
			return slice_to(name, i);
	return name;
}

static void
check_copy(struct oracle *oc, const struct vnode *dir, const struct vname *vn)
{
	const struct slice name = original_name(vn->name);

	for (uint32_t i = 0; i < dir->names; i++)
		if (slice_equal(dir->name[i].name, name) &&
		    dir->name[i].node->token == vn->node->token)
			oracle_fault(oc, "spurious: %.*s holds what %.*s does",
			    SLICE_FMT(vn->name), SLICE_FMT(name));
}

static void
check_dir(struct oracle *oc, const struct vnode *dir, bool strict, bool exact)
{
	for (uint32_t i = 0; i < dir->names; i++) {
		const struct vname *vn = &dir->name[i];
		struct token *t = vn->node->token;

		if (vn->node->id.type == IDENTITY_DIR)
			check_dir(oc, vn->node, strict, exact);
		if (t == NULL || !vn->node->visible)
			continue;
		/* A copy of what lost may be made by somebody who had not yet
		 * heard that it was written over. */
		if (strict && t->spent && !t->touched && !t->contested &&
		    !is_conflict_name(vn->name))
			oracle_fault(oc, "resurrected: %.*s with %.*s",
			    SLICE_FMT(vn->name), shown(t->data),
			    (const char *)t->data.ptr);
		/* Who deletes the winner revives what lost, beside its copy;
		 * and a conflict of conflicts may come out equal. */
		if (exact && is_conflict_name(vn->name) && !t->touched &&
		    !is_conflict_name(original_name(vn->name)))
			check_copy(oc, dir, vn);
	}
}

/* In sight, or in the trash can. */
static void
mark_found(const struct vnode *dir, bool root)
{
	for (uint32_t i = 0; i < dir->names; i++) {
		const struct vname *vn = &dir->name[i];

		if (root && !vn->node->visible &&
		    !slice_equal(vn->name, SLICE_LIT(".stversions")))
			continue;
		if (vn->node->token != NULL)
			vn->node->token->suspect = true;
		if (vn->node->id.type == IDENTITY_DIR)
			mark_found(vn->node, false);
	}
}

void
oracle_check_end(struct oracle *oc, struct vdisk *const *disk, uint32_t count,
    bool strict, bool exact)
{
	oracle_check(oc);
	for (uint32_t i = 0; i < count; i++) {
		check_dir(oc, vdisk_root(disk[i]), strict, exact);
		mark_found(vdisk_root(disk[i]), true);
	}
	for (size_t i = 0; i < oc->all.len; i++) {
		struct token *t = oc->all.item[i];

		if (!t->suspect && !t->spent)
			say_lost(oc, t, " in the end");
		t->suspect = false;
	}
}
