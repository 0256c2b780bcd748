/*
 * The disk in memory.  See testlib_disk.h.
 */
#include "testlib_disk.h"

#include "blockproto/blocks.h"
#include "engine/base/assert.h"
#include "engine/base/digest.h"
#include "engine/base/hash.h"
#include "engine/base/mem.h"
#include "engine/base/omap.h"
#include "engine/base/path.h"
#include "engine/chunkmap.h"

struct inode {
	struct identity id;
	struct buf data;    /* bytes, or the link's target */
	struct omap *child; /* of directories: name -> struct inode * */
};

struct testlib_disk {
	struct inode *root;
	struct inode *stage;
	struct inode *trash; /* path -> file; no part of the tree */
	uint64_t next_ino;
	int64_t now_ns;
	int64_t room;
	int64_t used;
	bool gone;
	enum effect_kind fail_kind;
	int fail_code;  /* of all effects of that kind; 0: none */
	int trash_code; /* of all that is done with the trash can */
	int keep_code;  /* of KEEP_VERSION */
	bool halves;    /* FINISH_FILE beside stops half way */
	enum testlib_maps maps;
};

static void
stamp(struct testlib_disk *dk, struct inode *in)
{
	dk->now_ns++;
	in->id.ctime_s = dk->now_ns / 1000000000;
	in->id.ctime_ns = (int32_t)(dk->now_ns % 1000000000);
}

static void
touch(struct testlib_disk *dk, struct inode *in)
{
	stamp(dk, in);
	in->id.mtime_s = in->id.ctime_s;
	in->id.mtime_ns = in->id.ctime_ns;
}

static struct inode *
inode_new(struct testlib_disk *dk, enum identity_type type, uint32_t mode)
{
	struct inode *in = mem_zalloc(sizeof(*in));

	in->id.type = type;
	in->id.mode = mode;
	in->id.ino = ++dk->next_ino;
	in->id.dev = 1;
	if (type == IDENTITY_DIR)
		in->child = omap_new();
	touch(dk, in);
	return in;
}

static struct inode *
item_inode(const struct omap_item *it)
{
	struct inode *in;

	ASSERT(it->value.len == sizeof(in));
	memcpy(&in, it->value.ptr, sizeof(in));
	return in;
}

static void
inode_free(struct testlib_disk *dk, struct inode *in)
{
	const struct omap_item *it;

	if (in->child != NULL) {
		while (
		    (it = omap_seek(in->child, SLICE_EMPTY, false)) != NULL) {
			struct inode *c = item_inode(it);
			struct slice name = it->key;
			char copy[300];

			memcpy(copy, name.ptr, name.len);
			omap_remove(in->child, slice_of(copy, name.len));
			inode_free(dk, c);
		}
		omap_free(in->child);
	}
	if (in->id.type == IDENTITY_FILE)
		dk->used -= (int64_t)in->data.len;
	buf_fini(&in->data);
	mem_free(in);
}

static struct inode *
child_find(struct inode *dir, struct slice name)
{
	const struct omap_item *it;

	if (dir == NULL || dir->child == NULL)
		return NULL;
	it = omap_find(dir->child, name);
	return it == NULL ? NULL : item_inode(it);
}

static void
child_put(struct inode *dir, struct slice name, struct inode *in)
{
	omap_put(dir->child, name, slice_of(&in, sizeof(in)));
}

/* The directory `path` is in; NULL when that is none. */
static struct inode *
walk_parent(struct testlib_disk *dk, struct slice path)
{
	struct inode *in = dk->root;
	struct slice rest = path_parent(path);

	while (rest.len > 0 && in != NULL) {
		const size_t slash = slice_find(rest, '/');
		const size_t end = slash == SIZE_MAX ? rest.len : slash;

		in = child_find(in, slice_to(rest, end));
		rest = slash == SIZE_MAX ? SLICE_EMPTY
					 : slice_from(rest, slash + 1);
	}
	return in != NULL && in->child != NULL ? in : NULL;
}

static struct inode *
walk(struct testlib_disk *dk, struct slice path)
{
	if (path.len == 0)
		return dk->root;
	return child_find(walk_parent(dk, path), path_base(path));
}

struct testlib_disk *
testlib_disk_new(uint64_t number)
{
	struct testlib_disk *dk = mem_zalloc(sizeof(*dk));

	dk->next_ino = number << 32;
	dk->now_ns = INT64_C(1700000000000000000);
	dk->room = INT64_MAX;
	dk->root = inode_new(dk, IDENTITY_DIR, 0755);
	dk->stage = inode_new(dk, IDENTITY_DIR, 0700);
	dk->trash = inode_new(dk, IDENTITY_DIR, 0700);
	return dk;
}

void
testlib_disk_free(struct testlib_disk *dk)
{
	inode_free(dk, dk->root);
	inode_free(dk, dk->stage);
	inode_free(dk, dk->trash);
	mem_free(dk);
}

void
testlib_disk_set_time(struct testlib_disk *dk, int64_t wall_ns)
{
	if (wall_ns > dk->now_ns)
		dk->now_ns = wall_ns;
}

void
testlib_disk_set_maps(struct testlib_disk *dk, enum testlib_maps maps)
{
	dk->maps = maps;
}

void
testlib_disk_set_room(struct testlib_disk *dk, int64_t bytes)
{
	dk->room = bytes;
}

void
testlib_disk_unmount(struct testlib_disk *dk, bool gone)
{
	dk->gone = gone;
}

struct slice
testlib_disk_trash_read(struct testlib_disk *dk, const char *path)
{
	struct inode *in = child_find(dk->trash, slice_str(path));

	return in == NULL ? SLICE_EMPTY : buf_slice(&in->data);
}

void
testlib_disk_trash(struct testlib_disk *dk, int64_t *files, int64_t *bytes)
{
	*files = *bytes = 0;
	for (const struct omap_item *it =
		 omap_seek(dk->trash->child, SLICE_EMPTY, false);
	     it != NULL; it = omap_next(it)) {
		++*files;
		*bytes += (int64_t)item_inode(it)->data.len;
	}
}

void
testlib_disk_break_keeping(struct testlib_disk *dk, int code)
{
	dk->keep_code = code;
}

void
testlib_disk_break_trash(struct testlib_disk *dk, int code)
{
	dk->trash_code = code;
}

void
testlib_disk_fail(struct testlib_disk *dk, enum effect_kind kind, int code)
{
	dk->fail_kind = kind;
	dk->fail_code = code;
}

void
testlib_disk_halve(struct testlib_disk *dk, bool on)
{
	dk->halves = on;
}

/* Bytes */

static void
set_size(struct testlib_disk *dk, struct inode *in, int64_t size)
{
	const size_t old = in->data.len;

	if ((size_t)size > old)
		memset(buf_extend(&in->data, (size_t)size - old), 0,
		    (size_t)size - old);
	in->data.len = (size_t)size;
	in->id.size = size;
	dk->used += size - (int64_t)old;
}

static void
put_bytes(struct testlib_disk *dk, struct inode *in, int64_t offset,
    struct slice data)
{
	if ((size_t)offset + data.len > in->data.len)
		set_size(dk, in, offset + (int64_t)data.len);
	if (data.len > 0)
		memcpy(in->data.ptr + offset, data.ptr, data.len);
	touch(dk, in);
}

/* People */

bool
testlib_disk_write(struct testlib_disk *dk, const char *path, struct slice data)
{
	const struct slice p = slice_str(path);
	struct inode *dir = walk_parent(dk, p);
	struct inode *in = walk(dk, p);

	if (dir == NULL || (in != NULL && in->id.type != IDENTITY_FILE))
		return false;
	if (in == NULL) {
		in = inode_new(dk, IDENTITY_FILE, 0644);
		child_put(dir, path_base(p), in);
	}
	set_size(dk, in, 0);
	put_bytes(dk, in, 0, data);
	return true;
}

static bool
add_new(struct testlib_disk *dk, const char *path, struct inode *in)
{
	const struct slice p = slice_str(path);
	struct inode *dir = walk_parent(dk, p);

	if (dir == NULL || walk(dk, p) != NULL) {
		inode_free(dk, in);
		return false;
	}
	child_put(dir, path_base(p), in);
	return true;
}

bool
testlib_disk_mkdir(struct testlib_disk *dk, const char *path)
{
	return add_new(dk, path, inode_new(dk, IDENTITY_DIR, 0755));
}

bool
testlib_disk_link(struct testlib_disk *dk, const char *path, const char *target)
{
	struct inode *in = inode_new(dk, IDENTITY_LINK, 0777);

	buf_put(&in->data, slice_str(target));
	in->id.size = (int64_t)strlen(target);
	return add_new(dk, path, in);
}

bool
testlib_disk_chmod(struct testlib_disk *dk, const char *path, uint32_t mode)
{
	struct inode *in = walk(dk, slice_str(path));

	if (in == NULL || in->id.type == IDENTITY_LINK)
		return false;
	in->id.mode = mode;
	stamp(dk, in);
	return true;
}

bool
testlib_disk_remove(struct testlib_disk *dk, const char *path)
{
	const struct slice p = slice_str(path);
	struct inode *dir = walk_parent(dk, p);
	struct inode *in = walk(dk, p);

	if (in == NULL || dir == NULL)
		return false;
	omap_remove(dir->child, path_base(p));
	inode_free(dk, in);
	return true;
}

bool
testlib_disk_rename(struct testlib_disk *dk, const char *from, const char *to)
{
	const struct slice a = slice_str(from), b = slice_str(to);
	struct inode *in = walk(dk, a), *old = walk(dk, b);
	struct inode *dir = walk_parent(dk, b);

	if (in == NULL || dir == NULL || in == old || (path_is_below(b, a)) ||
	    (old != NULL && old->child != NULL) ||
	    (old != NULL && in->child != NULL))
		return false;
	omap_remove(walk_parent(dk, a)->child, path_base(a));
	if (old != NULL) {
		omap_remove(dir->child, path_base(b));
		inode_free(dk, old);
	}
	child_put(dir, path_base(b), in);
	stamp(dk, in);
	return true;
}

bool
testlib_disk_has(struct testlib_disk *dk, const char *path)
{
	return walk(dk, slice_str(path)) != NULL;
}

bool
testlib_disk_is_dir(struct testlib_disk *dk, const char *path)
{
	const struct inode *in = walk(dk, slice_str(path));

	return in != NULL && in->child != NULL;
}

struct slice
testlib_disk_read(struct testlib_disk *dk, const char *path)
{
	struct inode *in = walk(dk, slice_str(path));

	return in == NULL || in->id.type == IDENTITY_DIR ? SLICE_EMPTY
							 : buf_slice(&in->data);
}

static bool
dir_has_content(struct inode *dir, struct slice data)
{
	for (const struct omap_item *it =
		 omap_seek(dir->child, SLICE_EMPTY, false);
	     it != NULL; it = omap_next(it)) {
		struct inode *in = item_inode(it);

		if (in->child != NULL
			? dir_has_content(in, data)
			: in->id.type == IDENTITY_FILE &&
			      slice_equal(buf_slice(&in->data), data))
			return true;
	}
	return false;
}

bool
testlib_disk_has_content(struct testlib_disk *dk, struct slice data)
{
	return dir_has_content(dk->root, data);
}

static void
inode_each(struct inode *in, void (*fn)(void *arg, struct slice data),
    void *arg)
{
	if (in->id.type == IDENTITY_FILE)
		fn(arg, buf_slice(&in->data));
	if (in->child == NULL)
		return;
	for (const struct omap_item *it =
		 omap_seek(in->child, SLICE_EMPTY, false);
	     it != NULL; it = omap_next(it))
		inode_each(item_inode(it), fn, arg);
}

void
testlib_disk_each(struct testlib_disk *dk, const char *path,
    void (*fn)(void *arg, struct slice data), void *arg)
{
	struct inode *in = walk(dk, slice_str(path));

	if (in != NULL)
		inode_each(in, fn, arg);
}

size_t
testlib_disk_count(struct testlib_disk *dk)
{
	struct arena ar = { 0 };
	size_t n = 0;

	for (const char *p = testlib_disk_dump(dk, &ar); *p != '\0'; p++)
		n += *p == '\n';
	arena_fini(&ar);
	return n;
}

static void
dump_dir(struct inode *dir, struct slice path, struct buf *out,
    struct arena *arena)
{
	for (const struct omap_item *it =
		 omap_seek(dir->child, SLICE_EMPTY, false);
	     it != NULL; it = omap_next(it)) {
		const struct inode *in = item_inode(it);
		const struct slice p = path_join(arena, path, it->key);

		if (entry_is_internal(p))
			continue;
		buf_printf(out, "%.*s %c", SLICE_FMT(p), "?fdl?"[in->id.type]);
		if (in->id.type == IDENTITY_FILE)
			buf_printf(out, " %03o %lld.%09d %016llx",
			    in->id.mode & 0777u, (long long)in->id.mtime_s,
			    in->id.mtime_ns,
			    (unsigned long long)hash_u64(buf_slice(&in->data)));
		if (in->id.type == IDENTITY_DIR)
			buf_printf(out, " %03o", in->id.mode & 0777u);
		if (in->id.type == IDENTITY_LINK)
			buf_printf(out, " %.*s",
			    SLICE_FMT(buf_slice(&in->data)));
		buf_put_u8(out, '\n');
		if (in->child != NULL)
			dump_dir(item_inode(it), p, out, arena);
	}
}

char *
testlib_disk_dump(struct testlib_disk *dk, struct arena *arena)
{
	struct buf out = { 0 };
	char *text;

	dump_dir(dk->root, SLICE_EMPTY, &out, arena);
	text = arena_str(arena, buf_slice(&out));
	buf_fini(&out);
	return text;
}

size_t
testlib_disk_temps(const struct testlib_disk *dk)
{
	return omap_count(dk->stage->child);
}

/* Effects: looking */

static struct identity
look(const struct inode *in)
{
	return in == NULL ? (struct identity){ 0 } : in->id;
}

static int
do_list(struct inode *dir, struct event *done, struct arena *arena)
{
	struct dir_entry *de;
	uint32_t n = 0;

	if (dir == NULL)
		return ERR_NOT_FOUND;
	if (dir->child == NULL)
		return ERR_CHANGED;
	de = arena_array(arena, omap_count(dir->child) + 1, sizeof(*de));
	for (const struct omap_item *it =
		 omap_seek(dir->child, SLICE_EMPTY, false);
	     it != NULL; it = omap_next(it)) {
		const struct inode *in = item_inode(it);

		de[n].name = arena_dup(arena, it->key);
		de[n].seen = in->id;
		if (in->id.type == IDENTITY_LINK)
			de[n].link_target =
			    arena_dup(arena, buf_slice(&in->data));
		n++;
	}
	done->u.done.entry = de;
	done->u.done.entry_count = n;
	return 0;
}

/* The chunks of `rest`, behind those that are there. */
static void
add_chunks(const struct testlib_disk *dk, struct slice rest, struct event *done,
    struct arena *arena)
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
			if (dk->maps == TESTLIB_MAPS_FALSE)
				ch[n].hash = 0;
			start = rest.ptr;
			n++;
		}
	}
	done->u.done.chunk = ch;
	done->u.done.chunk_count = n;
}

static int
do_chunk_file(const struct testlib_disk *dk, const struct inode *in,
    const struct effect *ef, struct event *done, struct arena *arena)
{
	const struct slice all = buf_slice(&in->data);

	if (ef->u.chunk.count == 0 || dk->maps == TESTLIB_MAPS_WHOLE)
		add_chunks(dk, all, done, arena);
	else
		for (uint32_t i = 0; i < ef->u.chunk.count; i++) {
			const struct chunk_range *r = &ef->u.chunk.range[i];

			if (r->len > in->id.size - r->offset)
				return ERR_CHANGED;
			add_chunks(dk,
			    slice_of(all.ptr + r->offset, (size_t)r->len), done,
			    arena);
		}
	return 0;
}

static int
do_hash(const struct testlib_disk *dk, const struct inode *in,
    const struct effect *ef, struct event *done, struct arena *arena)
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
		add_chunks(dk, buf_slice(&in->data), done, arena);
	return 0;
}

static int
do_read(const struct inode *in, const struct effect *ef, struct event *done)
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
	memcpy(p->data, in->data.ptr + off, ef->u.read.len);
	digest_of(payload_slice(p), &d);
	if (ef->u.read.verify && !digest_equal(&d, &ef->u.read.hash)) {
		payload_free(p);
		return ERR_CHANGED;
	}
	done->u.done.payload = p;
	return 0;
}

/* Effects: staging */

static struct inode *
temp_open(struct testlib_disk *dk, struct slice name, int64_t size)
{
	struct inode *in = child_find(dk->stage, name);

	if (in == NULL) {
		in = inode_new(dk, IDENTITY_FILE, 0600);
		set_size(dk, in, size);
		child_put(dk->stage, name, in);
	}
	return in;
}

static void
temp_seal(struct testlib_disk *dk, struct inode *in, int64_t size,
    const struct effect_meta *meta, struct event *done)
{
	set_size(dk, in, size);
	in->id.mode = meta->set_perms ? meta->perms : 0644;
	stamp(dk, in);
	if (meta->set_mtime) {
		in->id.mtime_s = meta->mtime_s;
		in->id.mtime_ns = meta->mtime_ns;
	}
	done->u.done.seen = in->id;
}

static int
do_write(struct testlib_disk *dk, const struct effect *ef, struct event *done)
{
	const struct slice data = payload_slice(ef->u.write.payload);
	struct inode *in;
	struct digest d;

	digest_of(data, &d);
	if (ef->u.write.verify && !digest_equal(&d, &ef->u.write.hash))
		return ERR_CORRUPT;
	if (dk->used + (int64_t)data.len > dk->room)
		return ERR_FULL;
	in = temp_open(dk, ef->temp, ef->u.write.file_size);
	put_bytes(dk, in, ef->u.write.offset, data);
	if (ef->u.write.seal)
		temp_seal(dk, in, ef->u.write.file_size, &ef->u.write.meta,
		    done);
	return 0;
}

static int
do_copy(struct testlib_disk *dk, const struct effect *ef, struct event *done)
{
	struct inode *from = ef->path.len > 0
				 ? walk(dk, ef->path)
				 : child_find(dk->stage, ef->u.copy.from_temp);
	struct inode *in;
	struct digest d;
	struct slice data;

	if (from == NULL)
		return ERR_NOT_FOUND;
	if (ef->path.len > 0 && !identity_same(&ef->want, &from->id))
		return ERR_CHANGED;
	if (ef->u.copy.from_offset + ef->u.copy.len > from->id.size)
		return ERR_CHANGED;
	data = slice_of(from->data.ptr + ef->u.copy.from_offset,
	    (size_t)ef->u.copy.len);
	digest_of(data, &d);
	if (ef->u.copy.verify && !digest_equal(&d, &ef->u.copy.hash))
		return ERR_CHANGED;
	in = temp_open(dk, ef->temp, ef->u.copy.file_size);
	if (in != from || ef->u.copy.from_offset != ef->u.copy.offset) {
		if (dk->used + ef->u.copy.len > dk->room)
			return ERR_FULL;
		put_bytes(dk, in, ef->u.copy.offset, data);
	}
	if (ef->u.copy.seal)
		temp_seal(dk, in, ef->u.copy.file_size, &ef->u.copy.meta, done);
	return 0;
}

static int
do_check(struct testlib_disk *dk, const struct effect *ef, struct event *done,
    struct arena *arena)
{
	const struct effect_blocks *b = &ef->u.check;
	const struct inode *in = child_find(dk->stage, ef->temp);
	uint8_t *have = arena_zalloc(arena, b->count / 8 + 1);

	if (in == NULL)
		return ERR_NOT_FOUND;
	done->u.done.have = have;
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
do_seal(struct testlib_disk *dk, const struct effect *ef, struct event *done)
{
	struct inode *in = child_find(dk->stage, ef->temp);

	if (in == NULL)
		return ERR_NOT_FOUND;
	temp_seal(dk, in, ef->u.seal.file_size, &ef->u.seal.meta, done);
	return 0;
}

static int
do_drop(struct testlib_disk *dk, const struct effect *ef)
{
	struct inode *in = child_find(dk->stage, ef->temp);

	if (in == NULL)
		return 0;
	if (ef->want.type != IDENTITY_ABSENT &&
	    !identity_same(&ef->want, &in->id))
		return ERR_CHANGED;
	omap_remove(dk->stage->child, ef->temp);
	inode_free(dk, in);
	return 0;
}

/* Effects: the trash can */

static int
do_keep(struct testlib_disk *dk, const struct effect *ef)
{
	struct inode *in = child_find(dk->stage, ef->temp);
	struct inode *old = child_find(dk->trash, ef->path);

	if (in == NULL)
		return ERR_NOT_FOUND;
	if (ef->want.type != IDENTITY_ABSENT &&
	    !identity_same(&ef->want, &in->id))
		return ERR_CHANGED;
	if (dk->keep_code != 0 || dk->trash_code != 0)
		return dk->keep_code != 0 ? dk->keep_code : dk->trash_code;
	omap_remove(dk->stage->child, ef->temp);
	if (old != NULL) {
		omap_remove(dk->trash->child, ef->path);
		inode_free(dk, old);
	}
	child_put(dk->trash, ef->path, in);
	touch(dk, in);
	return 0;
}

static struct inode *
trash_oldest(struct testlib_disk *dk, struct slice *path)
{
	struct inode *found = NULL;

	for (const struct omap_item *it =
		 omap_seek(dk->trash->child, SLICE_EMPTY, false);
	     it != NULL; it = omap_next(it)) {
		struct inode *in = item_inode(it);

		if (found != NULL &&
		    (in->id.ctime_s > found->id.ctime_s ||
			(in->id.ctime_s == found->id.ctime_s &&
			    in->id.ctime_ns > found->id.ctime_ns)))
			continue;
		found = in;
		*path = it->key;
	}
	return found;
}

static int
do_clean(struct testlib_disk *dk, const struct effect *ef, struct event *done)
{
	struct trash_totals *left = &done->u.done.trash;
	struct trash_totals *gone = &done->u.done.trash_gone;
	struct inode *in;
	struct slice path;
	char key[400];

	if (dk->trash_code != 0)
		return dk->trash_code;
	testlib_disk_trash(dk, &left->files, &left->bytes);
	while ((in = trash_oldest(dk, &path)) != NULL &&
	       (in->id.ctime_s * 1000000000 + in->id.ctime_ns <=
		       ef->u.clean.until_ns ||
		   left->bytes > ef->u.clean.bytes_max ||
		   gone->bytes < ef->u.clean.give)) {
		left->files--;
		left->bytes -= in->id.size;
		gone->files++;
		gone->bytes += in->id.size;
		memcpy(key, path.ptr, path.len);
		omap_remove(dk->trash->child, slice_of(key, path.len));
		inode_free(dk, in);
	}
	return 0;
}

/* Effects: acts */

/* `in` goes to the name, where `want` must be; what was there is kept. */
static int
swap_in(struct testlib_disk *dk, const struct effect *ef, struct inode *in,
    struct event *done)
{
	struct inode *dir = walk_parent(dk, ef->path);
	struct inode *old = walk(dk, ef->path);
	const struct identity now = look(old);

	if (dir == NULL)
		return ERR_NOT_FOUND;
	done->u.done.seen = now;
	if (!identity_same(&ef->want, &now))
		return ERR_CHANGED;
	if (old != NULL && old->child != NULL)
		return ERR_EXISTS;
	omap_remove(dk->stage->child, ef->temp);
	child_put(dir, path_base(ef->path), in);
	stamp(dk, in);
	if (old != NULL) {
		child_put(dk->stage, ef->temp, old);
		stamp(dk, old);
		done->u.done.kept = old->id;
	}
	done->u.done.seen = in->id;
	return 0;
}

static int
do_finish(struct testlib_disk *dk, const struct effect *ef, struct inode *in,
    struct event *done)
{
	const struct slice keep = ef->u.finish.keep;
	struct inode *old;
	int rc;

	if (keep.len > 0 && walk(dk, keep) != NULL)
		return ERR_EXISTS;
	if (keep.len > 0 && dk->halves) {
		omap_remove(dk->stage->child, ef->temp);
		child_put(walk_parent(dk, keep), path_base(keep), in);
		stamp(dk, in);
		return ERR_IO;
	}
	rc = swap_in(dk, ef, in, done);
	if (rc != 0 || keep.len == 0)
		return rc;
	old = child_find(dk->stage, ef->temp);
	omap_remove(dk->stage->child, ef->temp);
	child_put(walk_parent(dk, keep), path_base(keep), old);
	return 0;
}

static int
do_link(struct testlib_disk *dk, const struct effect *ef, struct event *done)
{
	struct inode *in = inode_new(dk, IDENTITY_LINK, 0777);
	int rc;

	do_drop(dk, &(struct effect){ .temp = ef->temp });
	buf_put(&in->data, ef->u.link.target);
	in->id.size = (int64_t)ef->u.link.target.len;
	child_put(dk->stage, ef->temp, in);
	rc = swap_in(dk, ef, in, done);
	if (rc != 0)
		do_drop(dk, &(struct effect){ .temp = ef->temp });
	return rc;
}

static void
set_meta(struct testlib_disk *dk, struct inode *in,
    const struct effect_meta *meta, struct event *done)
{
	if (meta->set_perms && in->id.type != IDENTITY_LINK)
		in->id.mode = meta->perms;
	if (meta->set_mtime) {
		in->id.mtime_s = meta->mtime_s;
		in->id.mtime_ns = meta->mtime_ns;
	}
	stamp(dk, in);
	done->u.done.seen = in->id;
}

static int
do_mkdir(struct testlib_disk *dk, const struct effect *ef, struct event *done)
{
	struct inode *dir = walk_parent(dk, ef->path);
	struct inode *in = walk(dk, ef->path);

	if (dir == NULL)
		return ERR_NOT_FOUND;
	if (in != NULL && in->child == NULL)
		return ERR_EXISTS;
	if (in == NULL) {
		in = inode_new(dk, IDENTITY_DIR, 0755);
		child_put(dir, path_base(ef->path), in);
	}
	set_meta(dk, in, &ef->u.meta, done);
	return 0;
}

static int
do_meta(struct testlib_disk *dk, const struct effect *ef, struct event *done)
{
	struct inode *in = walk(dk, ef->path);

	if (in == NULL)
		return ERR_NOT_FOUND;
	done->u.done.seen = in->id;
	if (ef->want.type != IDENTITY_ABSENT &&
	    !identity_same(&ef->want, &in->id))
		return ERR_CHANGED;
	set_meta(dk, in, &ef->u.meta, done);
	return 0;
}

static int
do_move(struct testlib_disk *dk, const struct effect *ef, struct event *done)
{
	struct inode *in = walk(dk, ef->path);
	struct inode *dir = walk_parent(dk, ef->u.move.to);

	if (in == NULL || dir == NULL)
		return ERR_NOT_FOUND;
	done->u.done.seen = in->id;
	if (!identity_same(&ef->want, &in->id))
		return ERR_CHANGED;
	if (walk(dk, ef->u.move.to) != NULL)
		return ERR_EXISTS;
	omap_remove(walk_parent(dk, ef->path)->child, path_base(ef->path));
	child_put(dir, path_base(ef->u.move.to), in);
	stamp(dk, in);
	done->u.done.seen = in->id;
	return 0;
}

static int
do_remove(struct testlib_disk *dk, const struct effect *ef, struct event *done)
{
	struct inode *in = walk(dk, ef->path);
	struct inode *dir = walk_parent(dk, ef->path);

	if (in == NULL)
		return ERR_NOT_FOUND;
	done->u.done.seen = in->id;
	if (!identity_same(&ef->want, &in->id))
		return ERR_CHANGED;
	if (in->child != NULL) {
		if (omap_count(in->child) > 0)
			return ERR_BUSY;
		omap_remove(dir->child, path_base(ef->path));
		inode_free(dk, in);
		return 0;
	}
	if (child_find(dk->stage, ef->temp) != NULL)
		return ERR_EXISTS;
	omap_remove(dir->child, path_base(ef->path));
	child_put(dk->stage, ef->temp, in);
	stamp(dk, in);
	done->u.done.kept = in->id;
	return 0;
}

static int
do_put_back(struct testlib_disk *dk, const struct effect *ef,
    struct event *done)
{
	struct inode *in = child_find(dk->stage, ef->temp);
	struct inode *dir = walk_parent(dk, ef->path);

	if (in == NULL || dir == NULL)
		return ERR_NOT_FOUND;
	if (walk(dk, ef->path) != NULL)
		return ERR_EXISTS;
	omap_remove(dk->stage->child, ef->temp);
	child_put(dir, path_base(ef->path), in);
	stamp(dk, in);
	done->u.done.seen = in->id;
	return 0;
}

/* Why is there nothing at `path`?  A parent may be no directory. */
static int
no_parent(struct testlib_disk *dk, struct slice path)
{
	for (path = path_parent(path); path.len > 0; path = path_parent(path)) {
		const struct inode *in = walk(dk, path);

		if (in != NULL && in->id.type != IDENTITY_DIR)
			return ERR_CHANGED;
	}
	return ERR_NOT_FOUND;
}

static int
do_stat(struct testlib_disk *dk, const struct effect *ef, struct event *done,
    struct arena *arena)
{
	const struct inode *in = walk(dk, ef->path);

	if (in == NULL)
		return no_parent(dk, ef->path);
	done->u.done.seen = in->id;
	if (in->id.type == IDENTITY_LINK)
		done->u.done.link_target =
		    arena_dup(arena, buf_slice(&in->data));
	return 0;
}

static int
do_read_file(struct testlib_disk *dk, const struct effect *ef,
    struct event *done)
{
	const struct inode *in = walk(dk, ef->path);
	struct payload *p;

	if (in == NULL || in->id.type != IDENTITY_FILE)
		return ERR_NOT_FOUND;
	p = payload_new(in->data.len);
	if (in->data.len > 0)
		memcpy(p->data, in->data.ptr, in->data.len);
	done->u.done.payload = p;
	return 0;
}

static void
root_facts(const struct testlib_disk *dk, struct root_facts *out)
{
	*out = (struct root_facts){
		.exists = true,
		.marker = child_find(dk->root, SLICE_LIT(".stfolder")) != NULL,
		.can_exchange = true,
		.has_perms = true,
		.has_links = true,
		.identity = { .dev = 1,
		    .ino = dk->root->id.ino,
		    .fs_hi = 7,
		    .fs_lo = dk->root->id.ino },
	};
	out->empty = omap_count(dk->root->child) == (out->marker ? 1u : 0u);
}

static int
do_one(struct testlib_disk *dk, const struct effect *ef, struct event *done,
    struct arena *arena)
{
	switch (ef->kind) {
	case EFFECT_MAKE_MARKER:
		if (child_find(dk->root, SLICE_LIT(".stfolder")) == NULL)
			testlib_disk_mkdir(dk, ".stfolder");
		root_facts(dk, &done->u.done.root);
		return 0;
	case EFFECT_OPEN_FOLDER:
	case EFFECT_CHECK_ROOT:
		root_facts(dk, &done->u.done.root);
		return 0;
	case EFFECT_LIST_DIR:
		return do_list(walk(dk, ef->path), done, arena);
	case EFFECT_STAT:
		return do_stat(dk, ef, done, arena);
	case EFFECT_HASH_FILE:
		return do_hash(dk, walk(dk, ef->path), ef, done, arena);
	case EFFECT_READ_FILE:
		return do_read_file(dk, ef, done);
	case EFFECT_READ_BLOCK:
		return do_read(ef->temp.len > 0
				   ? child_find(dk->stage, ef->temp)
				   : walk(dk, ef->path),
		    ef, done);
	case EFFECT_CHUNK_FILE: {
		const struct inode *in = walk(dk, ef->path);

		if (in == NULL || in->id.type != IDENTITY_FILE)
			return ERR_NOT_FOUND;
		if (!identity_same(&ef->want, &in->id))
			return ERR_CHANGED;
		return do_chunk_file(dk, in, ef, done, arena);
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
		for (uint32_t i = 0; i < ef->u.sync.count; i++)
			if (child_find(dk->stage, ef->u.sync.name[i]) == NULL)
				return ERR_NOT_FOUND;
		return 0;
	case EFFECT_DROP_TEMP:
		return do_drop(dk, ef);
	case EFFECT_KEEP_VERSION:
		return do_keep(dk, ef);
	case EFFECT_CLEAN_TRASH:
		return do_clean(dk, ef, done);
	case EFFECT_LIST_TEMPS:
		return do_list(dk->stage, done, arena);
	case EFFECT_FINISH_FILE: {
		struct inode *in = child_find(dk->stage, ef->temp);

		return in == NULL ? ERR_NOT_FOUND : do_finish(dk, ef, in, done);
	}
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
	case EFFECT_SYNC_DIRS:
	case EFFECT_CLOSE_FOLDER:
		return 0;
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
testlib_disk_do(struct testlib_disk *dk, const struct effect *ef,
    struct event *done, struct arena *arena)
{
	memset(done, 0, sizeof(*done));
	done->kind = EVENT_DONE;
	if (dk->gone && ef->kind != EFFECT_CLOSE_FOLDER) {
		done->u.done.code = ERR_MISSING_ROOT;
		return;
	}
	done->u.done.code = dk->fail_code != 0 && ef->kind == dk->fail_kind
				? dk->fail_code
				: do_one(dk, ef, done, arena);
	if (done->u.done.code != 0)
		done->u.done.text = slice_str(err_name(done->u.done.code));
}
