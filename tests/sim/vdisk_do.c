/*
 * The disk, as the engine uses it: disk effects, as fs_posix.h promises them.
 */
#include <string.h>

#include "blockproto/blocks.h"
#include "blockproto/entry.h"
#include "engine/base/assert.h"
#include "engine/base/mutant.h"
#include "engine/base/path.h"
#include "engine/chunkmap.h"
#include "engine/fs_posix.h"
#include "vdisk_impl.h"

static const struct slice marker_name = SLICE_INIT(".stfolder");
static const struct slice stage_name = SLICE_INIT("holdfast");

/* Looking */

/* Is what is found at `path` called exactly so, and all that it is in? */
static bool
is_spelled(const struct vdisk *dk, struct slice path)
{
	if (dk->make.names == VDISK_EXACT)
		return true;
	for (; path.len > 0; path = path_parent(path)) {
		const struct vnode *dir = vdisk_parent(dk, path);
		const struct vname *vn =
		    dir == NULL ? NULL : vdisk_lookup(dk, dir, path_base(path));

		if (vn != NULL && !slice_equal(vn->name, path_base(path)))
			return false;
	}
	return true;
}

/* As the door walks: what is spelled otherwise is not there. */
static struct vnode *
find(const struct vdisk *dk, struct slice path)
{
	return is_spelled(dk, path) ? vdisk_walk(dk, path) : NULL;
}

/* ... but for the last name of an act. */
static struct vnode *
dir_of(const struct vdisk *dk, struct slice path)
{
	return is_spelled(dk, path_parent(path)) ? vdisk_parent(dk, path)
						 : NULL;
}

static struct vnode *
at(const struct vdisk *dk, struct slice path)
{
	return is_spelled(dk, path_parent(path)) ? vdisk_walk(dk, path) : NULL;
}

static struct identity
look(const struct vnode *in)
{
	return in == NULL ? (struct identity){ 0 } : in->id;
}

/* Why is there no directory for `path`? */
static int
no_parent(const struct vdisk *dk, struct slice path)
{
	for (path = path_parent(path); path.len > 0; path = path_parent(path)) {
		const struct vnode *in = vdisk_walk(dk, path);

		if (in != NULL && in->id.type != IDENTITY_DIR)
			return ERR_CHANGED;
	}
	return ERR_NOT_FOUND;
}

static int
do_list(struct vdisk *dk, const struct vnode *dir, struct event *done,
    struct arena *arena)
{
	struct dir_entry *de;

	if (dir == NULL)
		return ERR_NOT_FOUND;
	if (dir->id.type != IDENTITY_DIR)
		return ERR_CHANGED;
	de = arena_array(arena, dir->names + 1, sizeof(*de));
	for (uint32_t i = 0; i < dir->names; i++) {
		const struct vnode *in = dir->name[i].node;

		de[i].name = dir->name[i].name;
		de[i].seen = in->id;
		if (in->id.type == IDENTITY_LINK)
			de[i].link_target = in->data;
		if (choice_strikes(dk->make.choice, dk->trouble.read_io * 4))
			de[i].error = ERR_IO;
	}
	done->u.done.entry = de;
	done->u.done.entry_count = dir->names;
	return 0;
}

/* The chunks of `rest`, behind those that are there. */
static void
add_chunks(struct slice rest, struct event *done, struct arena *arena)
{
	const uint32_t had = done->u.done.chunk_count;
	struct chunk *ch =
	    arena_array(arena, had + rest.len / CHUNKMAP_MIN + 2, sizeof(*ch));
	struct chunkmap_cutter cutter;
	const uint8_t *start = rest.ptr;
	uint32_t n = had;

	for (uint32_t i = 0; i < had; i++)
		ch[i] = done->u.done.chunk[i];
	chunkmap_cutter_init(&cutter);
	while (rest.len > 0) {
		bool cut = false;
		const size_t len = chunkmap_cut(&cutter, rest, &cut);

		rest = slice_from(rest, len);
		if (cut || rest.len == 0) {
			struct digest d;

			ch[n].len = (uint32_t)(rest.ptr - start);
			digest_of(slice_of(start, ch[n].len), &d);
			for (int i = 0; i < 8; i++)
				ch[n].hash = ch[n].hash << 8 | d.b[i];
			start = rest.ptr;
			n++;
		}
	}
	done->u.done.chunk = ch;
	done->u.done.chunk_count = n;
}

static int
do_chunks(const struct vnode *in, const struct effect *ef, struct event *done,
    struct arena *arena)
{
	if (ef->u.chunk.count == 0)
		add_chunks(in->data, done, arena);
	for (uint32_t i = 0; i < ef->u.chunk.count; i++) {
		const struct chunk_range *r = &ef->u.chunk.range[i];

		if (r->len > in->id.size - r->offset)
			return ERR_CHANGED;
		add_chunks(slice_of(in->data.ptr + r->offset, (size_t)r->len),
		    done, arena);
	}
	return 0;
}

static int
do_hash(const struct vnode *in, const struct effect *ef, struct event *done,
    struct arena *arena)
{
	const uint32_t bs = ef->u.hash.block_size;
	uint32_t count;
	struct digest *d;

	if (in == NULL)
		return ERR_NOT_FOUND;
	if (in->id.type != IDENTITY_FILE)
		return ERR_CHANGED;
	count = blocks_count(in->id.size, bs);
	d = arena_array(arena, count + 1, sizeof(*d));
	for (uint32_t i = 0; i < count; i++)
		digest_of(slice_of(in->data.ptr + (size_t)i * bs,
			      blocks_len(in->id.size, bs, i)),
		    &d[i]);
	done->u.done.hash = d;
	done->u.done.hash_count = count;
	done->u.done.block_size = bs;
	done->u.done.seen = in->id;
	if (ef->u.hash.chunks)
		add_chunks(in->data, done, arena);
	return 0;
}

/*
 * Bytes on their way from the disk: a memory or a cable that fails may change
 * one.  (Not of what is hashed: that would be an edit.)
 */
static void
carry(struct vdisk *dk, uint8_t *to, const uint8_t *from, size_t len)
{
	struct choice *c = dk->make.choice;

	if (len == 0)
		return;
	memcpy(to, from, len);
	if (choice_strikes(c, dk->trouble.flips))
		to[choice_weather(c, len)] ^= 0x20;
}

static int
do_read(struct vdisk *dk, const struct vnode *in, const struct effect *ef,
    struct event *done)
{
	const int64_t off = ef->u.read.offset;
	struct payload *p;
	struct digest d;

	if (in == NULL || in->id.type != IDENTITY_FILE ||
	    off + ef->u.read.len > in->id.size)
		return ERR_NOT_FOUND;
	if (ef->temp.len == 0 && ef->want.type != IDENTITY_ABSENT &&
	    !identity_same(&ef->want, &in->id))
		return ERR_CHANGED;
	p = payload_new(ef->u.read.len);
	carry(dk, p->data, in->data.ptr + off, ef->u.read.len);
	if (ef->u.read.verify) {
		digest_of(payload_slice(p), &d);
		if (!digest_equal(&d, &ef->u.read.hash)) {
			payload_free(p);
			return ERR_CHANGED;
		}
	}
	done->u.done.payload = p;
	return 0;
}

static int
do_read_file(const struct vnode *in, struct event *done)
{
	struct payload *p;

	if (in == NULL)
		return ERR_NOT_FOUND;
	if (in->id.type != IDENTITY_FILE)
		return ERR_DENIED;
	p = payload_new(in->data.len);
	if (in->data.len > 0)
		memcpy(p->data, in->data.ptr, in->data.len);
	done->u.done.payload = p;
	return 0;
}

static int
do_stat(const struct vdisk *dk, struct slice path, struct event *done)
{
	const struct vnode *in = find(dk, path);

	if (in == NULL)
		return ERR_NOT_FOUND;
	done->u.done.seen = in->id;
	if (in->id.type == IDENTITY_LINK)
		done->u.done.link_target = in->data;
	return 0;
}

/* Staging */

static bool
no_room(const struct vdisk *dk, int64_t more)
{
	return dk->used + more > dk->room;
}

static struct vnode *
temp_find(const struct vdisk *dk, struct slice name)
{
	return dk->stage == NULL ? NULL : vdisk_child(dk, dk->stage, name);
}

static void
name_set(struct vdisk *dk, struct vnode *dir, struct slice name,
    struct vnode *to)
{
	struct vchange ch = { 0 };

	vdisk_edge(dk, &ch, dir, name, to);
	vdisk_apply(dk, &ch);
}

static struct vnode *
temp_open(struct vdisk *dk, struct slice name, int64_t size)
{
	struct vnode *in = temp_find(dk, name);
	void *zero;

	if (in != NULL)
		return in->id.type == IDENTITY_FILE ? in : NULL;
	in = vdisk_node(dk, IDENTITY_FILE, 0600);
	in->ours = true;
	zero = arena_zalloc(dk->make.arena, (size_t)size + 1);
	vdisk_set_data(dk, in, slice_of(zero, (size_t)size));
	name_set(dk, dk->stage, name, in);
	return in;
}

static void
temp_size(struct vdisk *dk, struct vnode *in, int64_t size)
{
	uint8_t *data;

	if (in->id.size == size)
		return;
	data = arena_zalloc(dk->make.arena, (size_t)size + 1);
	memcpy(data, in->data.ptr,
	    in->data.len < (size_t)size ? in->data.len : (size_t)size);
	vdisk_set_data(dk, in, slice_of(data, (size_t)size));
}

static void
temp_put(struct vdisk *dk, struct vnode *in, int64_t offset, struct slice data)
{
	const size_t end = (size_t)offset + data.len;
	const size_t len = end > in->data.len ? end : in->data.len;
	uint8_t *copy = arena_zalloc(dk->make.arena, len + 1);

	if (in->data.len > 0)
		memcpy(copy, in->data.ptr, in->data.len);
	if (data.len > 0)
		memcpy(copy + offset, data.ptr, data.len);
	vdisk_set_data(dk, in, slice_of(copy, len));
	vdisk_touch(dk, in);
}

static void
temp_seal(struct vdisk *dk, struct vnode *in, int64_t size,
    const struct effect_meta *meta, struct event *done)
{
	temp_size(dk, in, size);
	in->id.mode = meta->set_perms ? meta->perms : 0644;
	vdisk_stamp(dk, in);
	if (meta->set_mtime) {
		in->id.mtime_s = meta->mtime_s;
		in->id.mtime_ns = meta->mtime_ns;
	}
	done->u.done.seen = in->id;
}

static int
do_write(struct vdisk *dk, const struct effect *ef, struct event *done)
{
	const struct slice data = payload_slice(ef->u.write.payload);
	struct vnode *in;
	struct digest d;

	if (ef->u.write.verify) {
		digest_of(data, &d);
		if (!digest_equal(&d, &ef->u.write.hash))
			return ERR_CORRUPT;
	}
	if (no_room(dk, (int64_t)data.len))
		return ERR_FULL;
	in = temp_open(dk, ef->temp, ef->u.write.file_size);
	if (in == NULL)
		return ERR_DENIED;
	temp_put(dk, in, ef->u.write.offset, data);
	if (ef->u.write.seal)
		temp_seal(dk, in, ef->u.write.file_size, &ef->u.write.meta,
		    done);
	return 0;
}

static int
do_copy(struct vdisk *dk, const struct effect *ef, struct event *done)
{
	const struct vnode *from = ef->path.len > 0
				       ? find(dk, ef->path)
				       : temp_find(dk, ef->u.copy.from_temp);
	struct vnode *in;
	struct digest d;
	struct slice data;
	uint8_t *read;

	if (from == NULL)
		return ERR_NOT_FOUND;
	if (ef->path.len > 0 && !identity_same(&ef->want, &from->id))
		return ERR_CHANGED;
	if (ef->u.copy.from_offset + ef->u.copy.len > from->id.size)
		return ERR_CHANGED;
	read = arena_alloc(dk->make.arena, ef->u.copy.len + 1);
	carry(dk, read, from->data.ptr + ef->u.copy.from_offset,
	    ef->u.copy.len);
	data = slice_of(read, ef->u.copy.len);
	if (ef->u.copy.verify) {
		digest_of(data, &d);
		if (!digest_equal(&d, &ef->u.copy.hash))
			return ERR_CHANGED;
	}
	in = temp_open(dk, ef->temp, ef->u.copy.file_size);
	if (in == NULL)
		return ERR_DENIED;
	if (in != from || ef->u.copy.from_offset != ef->u.copy.offset) {
		if (no_room(dk, ef->u.copy.len))
			return ERR_FULL;
		temp_put(dk, in, ef->u.copy.offset, data);
	}
	if (ef->u.copy.seal)
		temp_seal(dk, in, ef->u.copy.file_size, &ef->u.copy.meta, done);
	return 0;
}

static int
do_check(struct vdisk *dk, const struct effect *ef, struct event *done,
    struct arena *arena)
{
	const struct effect_blocks *b = &ef->u.check;
	struct vnode *in = temp_find(dk, ef->temp);
	uint8_t *have = arena_zalloc(arena, b->count / 8 + 1);

	if (in == NULL)
		return ERR_NOT_FOUND;
	done->u.done.have = have;
	/* It is read from the disk, where a failed flush left nothing. */
	if (in->lost_pages) {
		in->data = slice_of(arena_zalloc(dk->make.arena, in->data.len),
		    in->data.len);
		in->lost_pages = false;
	}
	for (uint32_t i = 0; in->id.size == b->size && i < b->count; i++) {
		struct digest d;

		digest_of(slice_of(in->data.ptr + (size_t)i * b->block_size,
			      blocks_len(b->size, b->block_size, i)),
		    &d);
		if (digest_equal(&d, &b->hash[i]))
			have[i / 8] |= (uint8_t)(1u << (i % 8));
	}
	return 0;
}

static int
do_seal(struct vdisk *dk, const struct effect *ef, struct event *done)
{
	struct vnode *in = temp_find(dk, ef->temp);

	if (in == NULL && ef->u.seal.file_size > 0)
		return ERR_NOT_FOUND;
	if (in == NULL)
		in = temp_open(dk, ef->temp, 0);
	temp_seal(dk, in, ef->u.seal.file_size, &ef->u.seal.meta, done);
	return 0;
}

static void
node_gone(struct vdisk *dk, struct vnode *in)
{
	if (in->id.type == IDENTITY_FILE)
		dk->used -= (int64_t)in->data.len;
	vdisk_retire(dk, in);
}

static int
do_drop(struct vdisk *dk, struct slice temp, const struct identity *want)
{
	struct vnode *in = temp_find(dk, temp);

	if (in == NULL)
		return 0;
	if (want->type != IDENTITY_ABSENT && !identity_same(want, &in->id))
		return ERR_CHANGED;
	name_set(dk, dk->stage, temp, NULL);
	node_gone(dk, in);
	return 0;
}

static int
do_sync_temps(struct vdisk *dk, const struct effect *ef)
{
	const uint32_t count = ef->u.sync.count;
	const bool fails = choice_strikes(dk->make.choice, dk->trouble.sync_io);
	const bool all = dk->make.syncfs && count >= FS_POSIX_SYNCFS_FROM;

	for (uint32_t i = 0; i < count; i++) {
		struct vnode *in = temp_find(dk, ef->u.sync.name[i]);

		if (in == NULL && all)
			continue;
		if (in == NULL)
			return ERR_NOT_FOUND;
		if (fails)
			vdisk_fail_flush(in);
		else
			vdisk_flush_node(in);
	}
	if (fails)
		return ERR_IO;
	if (MUTANT(MUTANT_STAGE_DIR_UNFLUSHED))
		return 0;
	if (all)
		vdisk_flush(dk);
	else
		vdisk_flush_dir(dk, dk->stage);
	return 0;
}

static int
do_sync_dirs(struct vdisk *dk, const struct effect *ef)
{
	if (choice_strikes(dk->make.choice, dk->trouble.sync_io))
		return ERR_IO;
	if (dk->make.syncfs && ef->u.sync.count >= FS_POSIX_SYNCFS_FROM) {
		vdisk_flush(dk);
		return 0;
	}
	for (uint32_t i = 0; i < ef->u.sync.count; i++) {
		struct vnode *dir = find(dk, ef->u.sync.name[i]);

		if (dir != NULL && dir->id.type == IDENTITY_DIR)
			vdisk_flush_dir(dk, dir);
	}
	return 0;
}

/* Acts on names */

/* A fault of the door: does it not see that something is not as planned? */
static bool
swap_mutant(const struct effect *ef, const struct identity *now)
{
	return ef->want.type == IDENTITY_ABSENT
		   ? MUTANT(MUTANT_NEW_NAME_UNCHECKED)
		   : now->type != IDENTITY_ABSENT &&
			 MUTANT(MUTANT_REPLACE_UNCHECKED);
}

/* `in` goes from staging to the name, where `want` must be; what was there is
 * kept in its stead. */
static int
swap_in(struct vdisk *dk, const struct effect *ef, struct vnode *in,
    struct vnode *from, struct slice name, struct event *done)
{
	struct vnode *dir = dir_of(dk, ef->path);
	struct vnode *old = at(dk, ef->path);
	const struct identity now = look(old);
	struct vchange ch = { 0 };

	if (dir == NULL)
		return no_parent(dk, ef->path);
	if (ef->want.type == IDENTITY_DIR)
		return ERR_EXISTS;
	done->u.done.seen = now;
	if (!identity_same(&ef->want, &now) && !swap_mutant(ef, &now))
		return ERR_CHANGED;
	if (old != NULL && MUTANT(MUTANT_OLD_UNLINKED_FIRST))
		name_set(dk, dir, path_base(ef->path), NULL);
	vdisk_edge(dk, &ch, from, name,
	    MUTANT(MUTANT_RENAMED_OVER) ? NULL : old);
	vdisk_edge(dk, &ch, dir, path_base(ef->path), in);
	vdisk_apply(dk, &ch);
	vdisk_rename_stamp(dk, in);
	if (old != NULL && !MUTANT(MUTANT_RENAMED_OVER)) {
		vdisk_rename_stamp(dk, old);
		done->u.done.kept = old->id;
	}
	done->u.done.seen = in->id;
	return 0;
}

static int
do_finish(struct vdisk *dk, const struct effect *ef, struct event *done)
{
	const struct slice keep = ef->u.finish.keep;
	struct vnode *in = temp_find(dk, ef->temp), *to;
	struct vchange ch = { 0 };
	struct identity now;

	if (in == NULL)
		return ERR_NOT_FOUND;
	if (keep.len == 0)
		return swap_in(dk, ef, in, dk->stage, ef->temp, done);
	now = look(at(dk, ef->path));
	to = dir_of(dk, keep);
	if (to == NULL)
		return no_parent(dk, keep);
	done->u.done.seen = now;
	if (!identity_same(&ef->want, &now) && !swap_mutant(ef, &now))
		return ERR_CHANGED;
	if (at(dk, keep) != NULL && !MUTANT(MUTANT_COPY_OVERWRITTEN))
		return ERR_EXISTS;
	/* Two calls: the power may go in between. */
	vdisk_edge(dk, &ch, dk->stage, ef->temp, NULL);
	vdisk_edge(dk, &ch, to, path_base(keep), in);
	vdisk_apply(dk, &ch);
	return swap_in(dk, ef, in, to, path_base(keep), done);
}

static int
do_link(struct vdisk *dk, const struct effect *ef, struct event *done)
{
	static const struct identity any;
	struct vnode *in = vdisk_node(dk, IDENTITY_LINK, 0777);
	int rc;

	if (dk->used >= dk->room)
		return ERR_FULL;
	do_drop(dk, ef->temp, &any);
	in->data = arena_dup(dk->make.arena, ef->u.link.target);
	in->id.size = (int64_t)in->data.len;
	name_set(dk, dk->stage, ef->temp, in);
	rc = swap_in(dk, ef, in, dk->stage, ef->temp, done);
	if (rc != 0)
		do_drop(dk, ef->temp, &any);
	return rc;
}

static void
set_meta(struct vdisk *dk, struct vnode *in, const struct effect_meta *meta,
    struct event *done)
{
	if (meta->set_perms && in->id.type != IDENTITY_LINK)
		in->id.mode = meta->perms;
	if (meta->set_mtime) {
		in->id.mtime_s = meta->mtime_s;
		in->id.mtime_ns = meta->mtime_ns;
	}
	vdisk_stamp(dk, in);
	done->u.done.seen = in->id;
}

static int
do_mkdir(struct vdisk *dk, const struct effect *ef, struct event *done)
{
	struct vnode *dir = dir_of(dk, ef->path);
	struct vnode *in = at(dk, ef->path);

	if (dir == NULL)
		return no_parent(dk, ef->path);
	if (in != NULL &&
	    (in->id.type != IDENTITY_DIR || !is_spelled(dk, ef->path)))
		return ERR_EXISTS;
	if (in == NULL && dk->used >= dk->room)
		return ERR_FULL;
	if (in == NULL) {
		in = vdisk_node(dk, IDENTITY_DIR, 0755);
		name_set(dk, dir, path_base(ef->path), in);
	}
	set_meta(dk, in, &ef->u.meta, done);
	return 0;
}

static int
do_meta(struct vdisk *dk, const struct effect *ef, struct event *done)
{
	struct vnode *in = find(dk, ef->path);

	if (in == NULL)
		return no_parent(dk, ef->path);
	done->u.done.seen = in->id;
	if (ef->want.type != IDENTITY_ABSENT &&
	    !identity_same(&ef->want, &in->id) &&
	    !MUTANT(MUTANT_META_UNCHECKED))
		return ERR_CHANGED;
	set_meta(dk, in, &ef->u.meta, done);
	return 0;
}

static int
do_move(struct vdisk *dk, const struct effect *ef, struct event *done)
{
	const struct slice to = ef->u.move.to;
	struct vnode *in = at(dk, ef->path), *old;
	struct vnode *dir = dir_of(dk, to);
	struct vchange ch = { 0 };

	if (in == NULL || dir == NULL)
		return no_parent(dk, in == NULL ? ef->path : to);
	done->u.done.seen = in->id;
	if (!identity_same(&ef->want, &in->id) &&
	    !MUTANT(MUTANT_MOVE_UNCHECKED))
		return ERR_CHANGED;
	old = at(dk, to);
	/* Another spelling of the same name is free. */
	if (old != NULL && old != in)
		return ERR_EXISTS;
	if (old == in && slice_equal(vdisk_lookup(dk, dir, path_base(to))->name,
			     path_base(to)))
		return 0; /* it is called so: nothing happens */
	vdisk_edge(dk, &ch, dir_of(dk, ef->path), path_base(ef->path), NULL);
	ch.edge[ch.count++] =
	    (struct vedge){ dir, arena_dup(dk->make.arena, path_base(to)), in };
	vdisk_apply(dk, &ch);
	vdisk_rename_stamp(dk, in);
	done->u.done.seen = in->id;
	return 0;
}

static int
do_remove(struct vdisk *dk, const struct effect *ef, struct event *done)
{
	struct vnode *in = at(dk, ef->path);
	struct vnode *dir = dir_of(dk, ef->path);
	struct vchange ch = { 0 };

	if (in == NULL)
		return no_parent(dk, ef->path);
	done->u.done.seen = in->id;
	if (!identity_same(&ef->want, &in->id) &&
	    !MUTANT(MUTANT_REMOVE_UNCHECKED))
		return ERR_CHANGED;
	if (in->id.type == IDENTITY_DIR) {
		if (in->names > 0)
			return ERR_BUSY;
		name_set(dk, dir, path_base(ef->path), NULL);
		node_gone(dk, in);
		return 0;
	}
	if (temp_find(dk, ef->temp) != NULL)
		return ERR_EXISTS;
	vdisk_edge(dk, &ch, dir, path_base(ef->path), NULL);
	vdisk_edge(dk, &ch, dk->stage, ef->temp, in);
	vdisk_apply(dk, &ch);
	vdisk_rename_stamp(dk, in);
	done->u.done.kept = in->id;
	return 0;
}

static int
do_put_back(struct vdisk *dk, const struct effect *ef, struct event *done)
{
	struct vnode *in = temp_find(dk, ef->temp);
	struct vnode *dir = dir_of(dk, ef->path);
	struct vchange ch = { 0 };

	if (in == NULL)
		return ERR_NOT_FOUND;
	if (dir == NULL)
		return no_parent(dk, ef->path);
	if (at(dk, ef->path) != NULL && !MUTANT(MUTANT_COPY_OVERWRITTEN))
		return ERR_EXISTS;
	vdisk_edge(dk, &ch, dk->stage, ef->temp, NULL);
	vdisk_edge(dk, &ch, dir, path_base(ef->path), in);
	vdisk_apply(dk, &ch);
	vdisk_rename_stamp(dk, in);
	done->u.done.seen = in->id;
	return 0;
}

/* The trash can: ".stversions", and below it the path as it was. */

/* What is in the way gets another name. */
static void
trash_aside(struct vdisk *dk, struct vnode *dir, struct slice name,
    struct vnode *in)
{
	struct vchange ch = { 0 };

	vdisk_edge(dk, &ch, dir, name, NULL);
	vdisk_edge(dk, &ch, dir,
	    slice_str(arena_printf(dk->make.arena, "%.*s~%llu", SLICE_FMT(name),
		(unsigned long long)dk->now_ns)),
	    in);
	vdisk_apply(dk, &ch);
}

/* A file stands where a directory shall be: it gets a name beside it. */
static void
trash_free_name(struct vdisk *dk, struct vnode *dir, struct slice name,
    struct vnode *in)
{
	struct vchange ch = { 0 };
	const char *free_name = arena_printf(dk->make.arena, "%.*s~%llu",
	    SLICE_FMT(name), (unsigned long long)dk->now_ns);

	vdisk_edge(dk, &ch, dir, name, NULL);
	vdisk_edge(dk, &ch, dir, slice_str(free_name), in);
	vdisk_apply(dk, &ch);
}

/* The directory of `path` in it, each one flushed as it is made. */
static struct vnode *
trash_dir_of(struct vdisk *dk, struct slice path)
{
	struct vnode *dir = dk->root;
	size_t slash;

	while ((slash = slice_find(path, '/')) != SIZE_MAX) {
		const struct slice name = slice_to(path, slash);
		struct vnode *next = vdisk_child(dk, dir, name);

		if (next != NULL && next->id.type != IDENTITY_DIR) {
			trash_free_name(dk, dir, name, next);
			next = NULL;
		}
		if (next == NULL) {
			next = vdisk_node(dk, IDENTITY_DIR, 0700);
			name_set(dk, dir, name, next);
			vdisk_flush_dir(dk, dir);
		}
		if (next->id.type != IDENTITY_DIR) {
			trash_aside(dk, dir, name, next);
			continue; /* it made room */
		}
		dir = next;
		path = slice_from(path, slash + 1);
	}
	return dir;
}

static int
do_keep_version(struct vdisk *dk, const struct effect *ef)
{
	struct arena *ar = dk->make.arena;
	struct vnode *in = temp_find(dk, ef->temp), *dir, *old;
	struct slice name = path_base(ef->path);
	struct vchange ch = { 0 };

	if (in == NULL)
		return ERR_NOT_FOUND;
	if (ef->want.type != IDENTITY_ABSENT &&
	    !identity_same(&ef->want, &in->id))
		return ERR_CHANGED;
	/* Its last place, and nobody gave it up. */
	if (in->token != NULL && !in->token->spent && in->token->places == 1 &&
	    !dk->make.oracle->liar)
		oracle_fault(dk->make.oracle, "thrown away: %.*s with %.*s",
		    SLICE_FMT(ef->path), SLICE_FMT(in->data));
	dir =
	    trash_dir_of(dk, path_join(ar, SLICE_LIT(".stversions"), ef->path));
	if (dir == NULL)
		return ERR_DENIED;
	old = vdisk_child(dk, dir, name);
	if (old != NULL && old->id.type == IDENTITY_DIR)
		name = slice_str(arena_printf(ar, "%.*s~%llu", SLICE_FMT(name),
		    (unsigned long long)dk->now_ns));
	else if (old != NULL) {
		/* Twice in a row: the can holds one of each name. */
		if (dk->make.oracle->liar && old->token != NULL)
			old->token->spent = true;
		node_gone(dk, old);
	}
	vdisk_edge(dk, &ch, dk->stage, ef->temp, NULL);
	vdisk_edge(dk, &ch, dir, name, in);
	vdisk_apply(dk, &ch);
	vdisk_touch(dk, in);
	return 0;
}

static int64_t
ctime_of(const struct vnode *in)
{
	return in->id.ctime_s * 1000000000 + in->id.ctime_ns;
}

static void
trash_sum(const struct vnode *dir, struct trash_totals *out,
    const struct vnode **oldest, struct vnode **in)
{
	for (uint32_t i = 0; i < dir->names; i++) {
		struct vnode *node = dir->name[i].node;

		if (node->id.type == IDENTITY_DIR) {
			trash_sum(node, out, oldest, in);
			continue;
		}
		out->files++;
		out->bytes += node->id.size;
		if (*oldest == NULL || ctime_of(node) < ctime_of(*oldest)) {
			*oldest = node;
			*in = node->parent;
		}
	}
}

static int
do_clean(struct vdisk *dk, const struct effect *ef, struct event *done)
{
	struct trash_totals *left = &done->u.done.trash;
	struct trash_totals *gone = &done->u.done.trash_gone;
	struct vnode *can = vdisk_child(dk, dk->root, SLICE_LIT(".stversions"));

	for (;;) {
		const struct vnode *old = NULL;
		struct vnode *dir = NULL;

		memset(left, 0, sizeof(*left));
		if (can != NULL)
			trash_sum(can, left, &old, &dir);
		if (old == NULL || (ctime_of(old) > ef->u.clean.until_ns &&
				       left->bytes <= ef->u.clean.bytes_max &&
				       gone->bytes >= ef->u.clean.give))
			return 0;
		gone->files++;
		gone->bytes += old->id.size;
		for (uint32_t i = 0; i < dir->names; i++)
			if (dir->name[i].node == old) {
				if (old->token != NULL)
					old->token->spent = true; /* its time */
				node_gone(dk, dir->name[i].node);
				name_set(dk, dir, dir->name[i].name, NULL);
				break;
			}
	}
}

/* The root */

static void
root_facts(const struct vdisk *dk, struct root_facts *out)
{
	*out = (struct root_facts){
		.exists = true,
		.marker = dk->marker != NULL,
		.can_exchange = true,
		.folds_case = dk->make.names == VDISK_FOLDS,
		.has_perms = true,
		.has_links = true,
		.identity = { .dev = 1,
		    .ino = dk->root->id.ino,
		    .fs_hi = 7,
		    .fs_lo = dk->make.number },
	};
	out->empty = dk->root->names == (out->marker ? 1u : 0u);
	if (dk->away != VDISK_BARE)
		return;
	out->marker = false;
	out->empty = true;
	/* A file system that cannot say which it is: so one that was known for
	 * a moment is no other disk for ever. */
	out->identity = (struct root_identity){ .dev = 2, .ino = 2 };
}

static void
open_stage(struct vdisk *dk)
{
	if (dk->marker == NULL || dk->stage != NULL || dk->read_only ||
	    dk->away != VDISK_HERE)
		return;
	dk->stage = vdisk_child(dk, dk->marker, stage_name);
	if (dk->stage != NULL)
		return;
	dk->stage = vdisk_node(dk, IDENTITY_DIR, 0700);
	name_set(dk, dk->marker, stage_name, dk->stage);
	vdisk_flush_dir(dk, dk->marker);
}

static int
do_open(struct vdisk *dk, bool opens, struct event *done)
{
	/* Who begins with a bare mount point has that for the folder, until a
	 * person says otherwise: nobody does here. */
	if (dk->away == VDISK_GONE ||
	    (dk->away == VDISK_BARE && dk->marker == NULL))
		return ERR_MISSING_ROOT;
	if (opens)
		dk->bare = dk->away == VDISK_BARE;
	open_stage(dk);
	root_facts(dk, &done->u.done.root);
	return 0;
}

static int
do_marker(struct vdisk *dk, struct event *done)
{
	if (dk->away != VDISK_HERE)
		return ERR_MISSING_ROOT;
	if (dk->marker == NULL && dk->read_only)
		return ERR_READ_ONLY;
	if (dk->marker == NULL && dk->used >= dk->room)
		return ERR_FULL;
	if (dk->marker == NULL) {
		dk->marker = vdisk_node(dk, IDENTITY_DIR, 0755);
		name_set(dk, dk->root, marker_name, dk->marker);
	}
	if (!dk->read_only)
		vdisk_flush_dir(dk, dk->root);
	open_stage(dk);
	root_facts(dk, &done->u.done.root);
	return 0;
}

/* All of them */

static bool
is_act(enum effect_kind kind)
{
	return kind >= EFFECT_FINISH_FILE && kind <= EFFECT_PUT_BACK;
}

static bool
is_confined(struct slice path)
{
	return path_check(path, NULL) == 0 && !entry_is_internal(path);
}

/* An act outside of what is shared. */
static void
check_escape(struct vdisk *dk, const struct effect *ef)
{
	if (!is_act(ef->kind))
		return;
	if (!is_confined(ef->path) ||
	    (ef->kind == EFFECT_MOVE && !is_confined(ef->u.move.to)) ||
	    (ef->kind == EFFECT_FINISH_FILE && ef->u.finish.keep.len > 0 &&
		!is_confined(ef->u.finish.keep)))
		oracle_fault(dk->make.oracle, "escape: act %d on \"%.*s\"",
		    (int)ef->kind, SLICE_FMT(ef->path));
}

/* Who opened the bare mount point has an empty directory. */
static int
do_bare(const struct vdisk *dk, const struct effect *ef, struct event *done)
{
	if (ef->kind == EFFECT_MAKE_MARKER)
		root_facts(dk, &done->u.done.root);
	return ef->kind == EFFECT_MAKE_MARKER ||
		       ef->kind == EFFECT_LIST_TEMPS ||
		       ef->kind == EFFECT_CLEAN_TRASH ||
		       (ef->kind == EFFECT_LIST_DIR && ef->path.len == 0)
		   ? 0
		   : ERR_NOT_FOUND;
}

/* Does it want what this disk does not give just now? */
static int
refuse(struct vdisk *dk, const struct effect *ef)
{
	const bool writes =
	    ef->kind >= EFFECT_WRITE_TEMP && ef->kind <= EFFECT_SYNC_DIRS &&
	    ef->kind != EFFECT_CHECK_TEMP && ef->kind != EFFECT_LIST_TEMPS;
	const bool looks =
	    ef->kind >= EFFECT_LIST_DIR && ef->kind <= EFFECT_CHUNK_FILE;
	struct choice *c = dk->make.choice;

	if (dk->away != VDISK_HERE)
		return ERR_MISSING_ROOT;
	if (writes && dk->read_only)
		return ERR_READ_ONLY;
	if (dk->stage == NULL &&
	    (writes || ef->kind == EFFECT_LIST_TEMPS || ef->temp.len > 0))
		return dk->read_only ? ERR_READ_ONLY : ERR_MISSING_ROOT;
	if (looks && choice_strikes(c, dk->trouble.read_io))
		return ERR_IO;
	if (!writes || ef->kind == EFFECT_SYNC_TEMPS ||
	    ef->kind == EFFECT_SYNC_DIRS)
		return 0; /* theirs are different */
	if (choice_strikes(c, dk->trouble.write_io))
		return ERR_IO;
	if (choice_strikes(c, dk->trouble.full))
		return ERR_FULL;
	return 0;
}

static int
do_one(struct vdisk *dk, const struct effect *ef, struct event *done,
    struct arena *arena)
{
	switch (ef->kind) {
	case EFFECT_LIST_DIR:
		return do_list(dk, find(dk, ef->path), done, arena);
	case EFFECT_STAT:
		return do_stat(dk, ef->path, done);
	case EFFECT_HASH_FILE:
		return do_hash(find(dk, ef->path), ef, done, arena);
	case EFFECT_READ_FILE:
		return do_read_file(find(dk, ef->path), done);
	case EFFECT_READ_BLOCK:
		return do_read(dk,
		    ef->temp.len > 0 ? temp_find(dk, ef->temp)
				     : find(dk, ef->path),
		    ef, done);
	case EFFECT_CHUNK_FILE: {
		const struct vnode *in = find(dk, ef->path);

		if (in == NULL || in->id.type != IDENTITY_FILE)
			return ERR_NOT_FOUND;
		if (!identity_same(&ef->want, &in->id))
			return ERR_CHANGED;
		return do_chunks(in, ef, done, arena);
	}
	case EFFECT_WRITE_TEMP:
		return do_write(dk, ef, done);
	case EFFECT_COPY_TEMP:
		return do_copy(dk, ef, done);
	case EFFECT_CHECK_TEMP:
		return do_check(dk, ef, done, arena);
	case EFFECT_SEAL_TEMP:
		return do_seal(dk, ef, done);
	case EFFECT_SYNC_TEMPS:
		return do_sync_temps(dk, ef);
	case EFFECT_DROP_TEMP:
		return do_drop(dk, ef->temp, &ef->want);
	case EFFECT_LIST_TEMPS:
		return do_list(dk, dk->stage, done, arena);
	case EFFECT_FINISH_FILE:
		return do_finish(dk, ef, done);
	case EFFECT_MAKE_LINK:
		return do_link(dk, ef, done);
	case EFFECT_MAKE_DIR:
		return do_mkdir(dk, ef, done);
	case EFFECT_MOVE:
		return do_move(dk, ef, done);
	case EFFECT_REMOVE:
		return do_remove(dk, ef, done);
	case EFFECT_SET_META:
		return do_meta(dk, ef, done);
	case EFFECT_PUT_BACK:
		return do_put_back(dk, ef, done);
	case EFFECT_KEEP_VERSION:
		return do_keep_version(dk, ef);
	case EFFECT_CLEAN_TRASH:
		return do_clean(dk, ef, done);
	case EFFECT_SYNC_DIRS:
		return do_sync_dirs(dk, ef);
	case EFFECT_OPEN_FOLDER:
	case EFFECT_CLOSE_FOLDER:
	case EFFECT_CHECK_ROOT:
	case EFFECT_MAKE_MARKER:
	case EFFECT_COMMIT:
	case EFFECT_SEND:
	case EFFECT_DROP_PEER:
	case EFFECT_WATCH:
	case EFFECT_NOTE:
		break;
	}
	assert_failed("a disk effect", __FILE__, __LINE__);
}

void
vdisk_do(struct vdisk *dk, const struct effect *ef, struct event *done,
    struct arena *arena)
{
	const bool bare = dk->bare && dk->away == VDISK_BARE;
	int rc;

	memset(done, 0, sizeof(*done));
	done->kind = EVENT_DONE;
	check_escape(dk, ef);
	if (ef->kind == EFFECT_OPEN_FOLDER || ef->kind == EFFECT_CHECK_ROOT)
		rc = do_open(dk, ef->kind == EFFECT_OPEN_FOLDER, done);
	else if (ef->kind == EFFECT_CLOSE_FOLDER)
		rc = 0;
	else if (bare)
		rc = do_bare(dk, ef, done);
	else if (ef->kind == EFFECT_MAKE_MARKER)
		rc = do_marker(dk, done);
	else
		rc = refuse(dk, ef);
	if (rc == 0 && !bare && ef->kind > EFFECT_COMMIT)
		rc = do_one(dk, ef, done, arena);
	done->u.done.code = rc;
	if (rc != 0)
		done->u.done.text = slice_str(err_name(rc));
}
