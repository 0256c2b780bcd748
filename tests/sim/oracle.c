/*
 * The oracle.  See oracle.h.
 */
#include "oracle.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/path.h"

void
oracle_init(struct oracle * or, struct arena *arena)
{
	memset(or, 0, sizeof(* or));
	or->arena = arena;
}

void
oracle_fini(struct oracle * or)
{
	map_fini(& or->by_data);
	VEC_FINI(& or->all);
	VEC_FINI(& or->suspects);
}

/* The first fault is the one to be told: others follow from it. */
void
oracle_fault(struct oracle * or, const char *fmt, ...)
{
	va_list ap;

	if (or->why[0] != '\0')
		return;
	va_start(ap, fmt);
	vsnprintf(or->why, sizeof(or->why), fmt, ap);
	va_end(ap);
}

static int
shown(struct slice data)
{
	return (int)(data.len < 24 ? data.len : 24);
}

static struct token *
token_add(struct oracle * or, struct slice data)
{
	struct token *t = arena_zalloc(or->arena, sizeof(*t));

	t->data = data;
	t->number = (uint32_t) or->all.len;
	map_put(& or->by_data, data, t);
	*VEC_ADD(& or->all) = t;
	return t;
}

struct token *
oracle_written(struct oracle * or, struct slice data)
{
	struct token *t = map_find(& or->by_data, data);

	if (t == NULL)
		return token_add(or, data);
	/* Written once more: it is wanted again. */
	t->spent = false;
	t->touched = true;
	return t;
}

void
oracle_unwritten(struct oracle * or, struct slice data)
{
	struct token *t = map_find(& or->by_data, data);

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
oracle_spent(struct oracle * or, const struct vnode *node)
{
	(void) or ;
	each_token(node, token_spend);
}

void
oracle_touched(struct oracle * or, const struct vnode *node)
{
	(void) or ;
	each_token(node, token_touch);
}

/* What a machine made of a file that was being written when it went dark. */
static struct token *
token_garbage(struct oracle * or, struct slice data)
{
	struct token *t = token_add(or, data);

	t->spent = t->touched = t->garbage = true;
	return t;
}

void
oracle_named(struct oracle * or, struct vnode *node)
{
	struct token *t;

	if (node->id.type != IDENTITY_FILE)
		return;
	t = map_find(& or->by_data, node->data);
	if (t == NULL && node->visible) {
		/* A temp is named only when it is whole and flushed. */
		if (node->ours)
			oracle_fault(or, "half-written: %zu bytes \"%.*s\"",
			    node->data.len, shown(node->data),
			    (const char *)node->data.ptr);
		t = token_garbage(or, node->data);
	}
	node->token = t;
	if (t == NULL)
		return;
	t->places++;
	if (or->machine)
		t->touched = true;
	if (node->clean)
		t->safe = true;
}

void
oracle_unnamed(struct oracle * or, struct vnode *node)
{
	struct token *t = node->token;

	node->token = NULL;
	if (t == NULL)
		return;
	t->places--;
	if (or->machine)
		t->touched = true;
	if (t->suspect)
		return;
	t->suspect = true;
	*VEC_ADD(& or->suspects) = t;
}

static bool
is_lost(const struct token *t)
{
	return t->places == 0 && !t->spent;
}

static void
say_lost(struct oracle * or, const struct token *t, const char *when)
{
	oracle_fault(or, "lost%s: %.*s", when, shown(t->data),
	    (const char *)t->data.ptr);
}

void
oracle_check(struct oracle * or)
{
	for (size_t i = 0; i < or->suspects.len; i++) {
		struct token *t = or->suspects.item[i];

		t->suspect = false;
		if (is_lost(t))
			say_lost(or, t, "");
	}
	VEC_CLEAR(& or->suspects);
}

void
oracle_at_risk(struct oracle * or, const struct vnode *node)
{
	struct token *t = node->token;

	(void) or ;
	if (t == NULL || t->at_risk)
		return;
	t->at_risk = true;
	t->before = t->places;
}

void
oracle_check_power(struct oracle * or)
{
	for (size_t i = 0; i < or->suspects.len; i++) {
		struct token *t = or->suspects.item[i];

		t->suspect = false;
		if (t->at_risk && t->places < t->before)
			t->spent = true;
		t->at_risk = false;
		if (is_lost(t) && t->safe)
			say_lost(or, t, " with the power");
		else if (is_lost(t))
			t->spent = true;
	}
	VEC_CLEAR(& or->suspects);
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
check_copy(struct oracle * or, const struct vnode *dir, const struct vname *vn)
{
	const struct slice name = original_name(vn->name);

	for (uint32_t i = 0; i < dir->names; i++)
		if (slice_equal(dir->name[i].name, name) &&
		    dir->name[i].node->token == vn->node->token)
			oracle_fault(or, "spurious: %.*s holds what %.*s does",
			    SLICE_FMT(vn->name), SLICE_FMT(name));
}

static void
check_dir(struct oracle * or, const struct vnode *dir, bool strict)
{
	for (uint32_t i = 0; i < dir->names; i++) {
		const struct vname *vn = &dir->name[i];
		struct token *t = vn->node->token;

		if (vn->node->id.type == IDENTITY_DIR)
			check_dir(or, vn->node, strict);
		if (t == NULL || !vn->node->visible)
			continue;
		/* A copy of what lost may be made by somebody who had not yet
		 * heard that it was written over. */
		if (strict && t->spent && !t->touched &&
		    !is_conflict_name(vn->name))
			oracle_fault(or, "resurrected: %.*s with %.*s",
			    SLICE_FMT(vn->name), shown(t->data),
			    (const char *)t->data.ptr);
		if (strict && is_conflict_name(vn->name) && !t->touched)
			check_copy(or, dir, vn);
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
oracle_check_end(struct oracle * or, struct vdisk *const *disk, uint32_t count,
    bool strict)
{
	oracle_check(or);
	for (uint32_t i = 0; i < count; i++) {
		check_dir(or, vdisk_root(disk[i]), strict);
		mark_found(vdisk_root(disk[i]), true);
	}
	for (size_t i = 0; i < or->all.len; i++) {
		struct token *t = or->all.item[i];

		if (!t->suspect && !t->spent)
			say_lost(or, t, " in the end");
		t->suspect = false;
	}
}
