/*
 * The disk, as people and their programs use it.  See vdisk.h.
 */
#include <string.h>

#include "engine/base/path.h"
#include "vdisk_impl.h"

static bool
may_write(const struct vdisk *dk)
{
	return dk->away == VDISK_HERE && !dk->read_only;
}

/* As editors that flush what they save, and its name. */
static void
flush_too(struct vdisk *dk, struct vnode *in, struct vnode *dir, bool flushed)
{
	if (!flushed)
		return;
	if (in != NULL)
		vdisk_flush_node(in);
	vdisk_flush_dir(dk, dir);
}

bool
vdisk_write(struct vdisk *dk, const char *path, struct slice data, bool flushed)
{
	const struct slice p = slice_str(path);
	struct vnode *dir = vdisk_parent(dk, p);
	struct vnode *in = vdisk_walk(dk, p);
	struct vchange ch = { 0 };

	if (!may_write(dk) || dir == NULL ||
	    (in != NULL && in->id.type != IDENTITY_FILE))
		return false;
	if (in == NULL) {
		in = vdisk_node(dk, IDENTITY_FILE, 0644);
		vdisk_set_data(dk, in, data);
		vdisk_edge(dk, &ch, dir, path_base(p), in);
		vdisk_apply(dk, &ch);
	} else {
		in->ours = false; /* a person's program does as it likes */
		vdisk_set_data(dk, in, data);
	}
	vdisk_touch(dk, in);
	flush_too(dk, in, dir, flushed);
	return true;
}

static bool
add_new(struct vdisk *dk, const char *path, struct vnode *in, bool flushed)
{
	const struct slice p = slice_str(path);
	struct vnode *dir = vdisk_parent(dk, p);
	struct vchange ch = { 0 };

	if (!may_write(dk) || dir == NULL || vdisk_walk(dk, p) != NULL)
		return false;
	vdisk_edge(dk, &ch, dir, path_base(p), in);
	vdisk_apply(dk, &ch);
	flush_too(dk, in, dir, flushed);
	return true;
}

bool
vdisk_mkdir(struct vdisk *dk, const char *path, bool flushed)
{
	return add_new(dk, path, vdisk_node(dk, IDENTITY_DIR, 0755), flushed);
}

bool
vdisk_link(struct vdisk *dk, const char *path, const char *target, bool flushed)
{
	struct vnode *in = vdisk_node(dk, IDENTITY_LINK, 0777);

	in->data = arena_dup(dk->make.arena, slice_str(target));
	in->id.size = (int64_t)in->data.len;
	return add_new(dk, path, in, flushed);
}

bool
vdisk_chmod(struct vdisk *dk, const char *path, uint32_t mode)
{
	struct vnode *in = vdisk_walk(dk, slice_str(path));

	if (!may_write(dk) || in == NULL || in->id.type == IDENTITY_LINK ||
	    in->id.mode == mode)
		return false;
	in->id.mode = mode;
	vdisk_stamp(dk, in);
	return true;
}

bool
vdisk_utimes(struct vdisk *dk, const char *path, int64_t mtime_s)
{
	struct vnode *in = vdisk_walk(dk, slice_str(path));

	if (!may_write(dk) || in == NULL || in->id.type != IDENTITY_FILE)
		return false;
	in->id.mtime_s = mtime_s;
	in->id.mtime_ns = 0;
	vdisk_stamp(dk, in);
	return true;
}

bool
vdisk_remove(struct vdisk *dk, const char *path, bool flushed)
{
	const struct slice p = slice_str(path);
	struct vnode *dir = vdisk_parent(dk, p);
	struct vnode *in = vdisk_walk(dk, p);
	struct vchange ch = { 0 };

	if (!may_write(dk) || in == NULL || dir == NULL || in->names > 0)
		return false;
	vdisk_edge(dk, &ch, dir, path_base(p), NULL);
	vdisk_apply(dk, &ch);
	if (in->id.type == IDENTITY_FILE)
		dk->used -= (int64_t)in->data.len;
	vdisk_retire(dk, in);
	flush_too(dk, NULL, dir, flushed);
	return true;
}

/* Is `dir` the object `in`, or below it? */
static bool
is_in(const struct vnode *dir, const struct vnode *in)
{
	for (; dir != NULL; dir = dir->parent)
		if (dir == in)
			return true;
	return false;
}

bool
vdisk_rename(struct vdisk *dk, const char *from, const char *to, bool flushed)
{
	const struct slice a = slice_str(from), b = slice_str(to);
	struct vnode *in = vdisk_walk(dk, a), *old = vdisk_walk(dk, b);
	struct vnode *dir = vdisk_parent(dk, b), *out = vdisk_parent(dk, a);
	struct vchange ch = { 0 };

	if (!may_write(dk) || in == NULL || dir == NULL || is_in(dir, in) ||
	    slice_equal(a, b))
		return false;
	if (old != NULL && old != in &&
	    (old->id.type == IDENTITY_DIR || in->id.type == IDENTITY_DIR))
		return false;
	vdisk_edge(dk, &ch, out, path_base(a), NULL);
	if (old != NULL && old != in)
		vdisk_edge(dk, &ch, dir, path_base(b), in);
	else /* in its new spelling */
		ch.edge[ch.count++] = (struct vedge){ dir,
			arena_dup(dk->make.arena, path_base(b)), in };
	vdisk_apply(dk, &ch);
	if (old != NULL && old != in) {
		dk->used -= (int64_t)old->data.len;
		vdisk_retire(dk, old);
	}
	vdisk_stamp(dk, in);
	flush_too(dk, in->id.type == IDENTITY_FILE ? in : NULL, dir, flushed);
	if (flushed && out != dir)
		vdisk_flush_dir(dk, out);
	return true;
}

struct vnode *
vdisk_open(struct vdisk *dk, const char *path)
{
	struct vnode *in = vdisk_walk(dk, slice_str(path));

	return in != NULL && in->id.type == IDENTITY_FILE && may_write(dk)
		   ? in
		   : NULL;
}

bool
vdisk_is_staged(const struct vdisk *dk, const struct vnode *in)
{
	return in->parent != NULL && in->parent == dk->stage;
}

bool
vdisk_write_open(struct vdisk *dk, struct vnode *in, struct slice data)
{
	if (!may_write(dk) || in->parent == NULL)
		return false;
	in->ours = false;
	vdisk_set_data(dk, in, data);
	vdisk_touch(dk, in);
	return true;
}

bool
vdisk_has(struct vdisk *dk, const char *path)
{
	return vdisk_walk(dk, slice_str(path)) != NULL;
}

bool
vdisk_is_dir(struct vdisk *dk, const char *path)
{
	const struct vnode *in = vdisk_walk(dk, slice_str(path));

	return in != NULL && in->id.type == IDENTITY_DIR;
}

const struct vnode *
vdisk_find(struct vdisk *dk, const char *path)
{
	return vdisk_walk(dk, slice_str(path));
}

struct slice
vdisk_read(struct vdisk *dk, const char *path)
{
	const struct vnode *in = vdisk_walk(dk, slice_str(path));

	return in == NULL || in->id.type == IDENTITY_DIR ? SLICE_EMPTY
							 : in->data;
}
