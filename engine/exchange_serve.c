/*
 * Serving: requests of peers, answered from this disk.
 *
 * Every request gets exactly one answer.  What waits is bounded by number,
 * what is being read or waits to be sent by bytes; the rest waits in order.
 * Only what our index says is served: a path of a shared, running folder, a
 * regular file, not ignored, not internal.  BEP-FACTS.md 7.1.
 */
#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "engine/base/path.h"
#include "engine/exchange_state.h"
#include "engine/pull.h"
#include "engine/scan.h"

/*
 * What a chunk map takes of the window: about its answer for a gigabyte.  It
 * bounds how many are being made for one peer.
 */
#define SERVE_MAP_LEN (256 * KIB)

static void exchange_serve_next(struct peer *p);

static uint64_t
exchange_serve_weight(const struct exchange_serve *sv)
{
	return sv->chunks ? SERVE_MAP_LEN : sv->len;
}

static void
exchange_serve_free(struct exchange_serve *sv)
{
	mem_free((void *)(uintptr_t)sv->path.ptr);
	mem_free((void *)(uintptr_t)sv->range);
	mem_free(sv);
}

static void
exchange_answer_error(struct peer *p, int32_t id, bool chunks,
    enum response_code code)
{
	struct message m = { .type = MESSAGE_RESPONSE };

	if (chunks) {
		m.type = MESSAGE_CHUNKS;
		m.u.chunks.id = id;
		m.u.chunks.code = code;
	} else {
		m.u.response.id = id;
		m.u.response.code = code;
	}
	exchange_send(p, &m, NULL, NULL, NULL);
}

static enum response_code
exchange_response_code(int code)
{
	switch (code) {
	case ERR_DENIED:
	case ERR_INVALID:
		return RESPONSE_INVALID_FILE;
	case ERR_IO:
	case ERR_BUSY:
		return RESPONSE_GENERIC;
	default:
		return RESPONSE_NO_SUCH_FILE;
	}
}

/* The hashes of a file's blocks, kept for the requests that follow. */
static bool
exchange_serve_list(struct folder *f, const struct entry *e)
{
	struct arena *scratch = core_scratch(f->en);
	const struct digest *hash = e->block;
	struct err err = { 0 };

	if (f->list != NULL && f->list_count == e->block_count &&
	    digest_equal(&f->list_hash, &e->blocks_hash))
		return true;
	if (hash == NULL && index_blocks(f->ix, e, &hash, scratch, &err) < 0) {
		folder_met_error(f, err.code, slice_str(err.text));
		return false;
	}
	mem_free(f->list);
	f->list = mem_dup(hash, e->block_count * sizeof(*hash));
	f->list_count = e->block_count;
	f->list_hash = e->blocks_hash;
	return true;
}

/* Does the hash a peer asks with belong to what we have there? */
static bool
exchange_serve_matches(struct folder *f, const struct entry *e,
    const struct exchange_serve *sv, bool *verify)
{
	uint32_t no;

	*verify = false;
	if (!sv->verify)
		return true;
	if (sv->offset % e->block_size != 0) {
		*verify = true;
		return true;
	}
	no = (uint32_t)(sv->offset / e->block_size);
	if (no >= e->block_count ||
	    sv->len != blocks_len(e->size, e->block_size, no)) {
		*verify = true;
		return true;
	}
	if (!exchange_serve_list(f, e))
		return false;
	/* The identity is checked when it is read, so the bytes are the ones
	 * we hashed: they need no second hashing. */
	return digest_equal(&f->list[no], &sv->hash);
}

/* Bytes left the queue, or cannot: their place in the window is free. */
static void
exchange_on_served(struct folder *none, void *arg, const struct event *ev)
{
	struct exchange_serve *sv = arg;
	struct peer *p = sv->peer;

	(void)none;
	(void)ev;
	p->serve_ops--;
	p->serve_bytes -= exchange_serve_weight(sv);
	exchange_serve_free(sv);
	if (p->up)
		exchange_serve_next(p);
	else
		exchange_peer_release(p);
}

static void
exchange_on_read(struct folder *f, void *arg, const struct event *ev)
{
	struct exchange_serve *sv = arg;
	struct peer *p = sv->peer;
	struct message m = { .type = MESSAGE_RESPONSE };
	int code = ev->u.done.code;

	/* Changed, gone or shrunk on disk: the scanner must look, unless it
	 * is at it.  A hint would have it begin again, and the next request,
	 * which fails for the same reason, once more. */
	if (code != 0 && !sv->from_temp && !scan_has(f, sv->path))
		scan_hint(f, sv->path, false);
	if (!p->up) {
		payload_free(ev->u.done.payload);
		exchange_on_served(NULL, sv, ev);
		return;
	}
	if (code == 0 && ev->u.done.chunk_count > LIMIT_BLOCKS)
		code = ERR_LIMIT;
	if (sv->chunks) {
		m.type = MESSAGE_CHUNKS;
		m.u.chunks.id = sv->id;
		m.u.chunks.chunk = ev->u.done.chunk;
		m.u.chunks.count = ev->u.done.chunk_count;
	} else if (code == 0) {
		m.u.response.id = sv->id;
		m.u.response.data = payload_slice(ev->u.done.payload);
	}
	if (code != 0) {
		exchange_answer_error(p, sv->id, sv->chunks,
		    exchange_response_code(code));
		payload_free(ev->u.done.payload);
		exchange_on_served(NULL, sv, ev);
		return;
	}
	exchange_send(p, &m, ev->u.done.payload, exchange_on_served, sv);
}

/* From a temporary that holds part of the version being pulled. */
static bool
exchange_serve_temp(struct peer *p, struct folder *f, struct exchange_serve *sv)
{
	struct effect *ef;
	struct slice temp;

	if (!pull_temp_block(f, sv->path, &temp, sv->offset, sv->len))
		return false;
	ef = core_ask(f, EFFECT_READ_BLOCK, exchange_on_read, sv);
	ef->path = sv->path;
	ef->temp = temp;
	ef->u.read.offset = sv->offset;
	ef->u.read.len = sv->len;
	ef->u.read.verify = true;
	ef->u.read.hash = sv->hash;
	p->serve_ops++;
	p->serve_bytes += sv->len;
	return true;
}

/* Are the ranges in the file, and is it not too much?  They are in order. */
static bool
exchange_serve_can_map(const struct exchange_serve *sv, int64_t size)
{
	uint64_t len = sv->range_count == 0 ? (uint64_t)size : 0;

	for (uint32_t i = 0; i < sv->range_count; i++) {
		if (sv->range[i].len > size - sv->range[i].offset)
			return false;
		len += (uint64_t)sv->range[i].len;
	}
	return len <= LIMIT_CHUNK_MAP_LEN;
}

/* Begin one request; RESPONSE_OK when its answer will come. */
static enum response_code
exchange_serve_begin(struct peer *p, struct exchange_serve *sv)
{
	struct folder *f = sv->f;
	const struct row_version *v;
	struct row *row;
	struct effect *ef;
	bool verify = false;

	if (f == NULL || !folder_talks(f))
		return RESPONSE_GENERIC;
	if (entry_is_internal(sv->path))
		return RESPONSE_INVALID_FILE;
	if (sv->from_temp)
		return exchange_serve_temp(p, f, sv) ? RESPONSE_OK
						     : RESPONSE_NO_SUCH_FILE;
	row = index_row(f->ix, sv->path, core_scratch(p->en));
	v = row == NULL ? NULL : row_local(row);
	if (v == NULL || v->entry.deleted || v->entry.type != ENTRY_FILE)
		return RESPONSE_NO_SUCH_FILE;
	if ((row->flags & (ROW_IGNORED | ROW_LOCAL_CHANGED)) != 0)
		return RESPONSE_INVALID_FILE;
	if (sv->offset > v->entry.size || sv->len > v->entry.size - sv->offset)
		return RESPONSE_NO_SUCH_FILE;
	if (sv->chunks && !exchange_serve_can_map(sv, v->entry.size))
		return RESPONSE_INVALID_FILE;
	if (!sv->chunks && !exchange_serve_matches(f, &v->entry, sv, &verify))
		return RESPONSE_NO_SUCH_FILE;
	ef = core_ask(f, sv->chunks ? EFFECT_CHUNK_FILE : EFFECT_READ_BLOCK,
	    exchange_on_read, sv);
	ef->path = sv->path;
	ef->want = row->seen;
	if (!sv->chunks) {
		ef->u.read.offset = sv->offset;
		ef->u.read.len = sv->len;
		ef->u.read.verify = verify;
		ef->u.read.hash = sv->hash;
	} else {
		ef->u.chunk.range = sv->range;
		ef->u.chunk.count = sv->range_count;
	}
	p->serve_ops++;
	p->serve_bytes += exchange_serve_weight(sv);
	return RESPONSE_OK;
}

static void
exchange_serve_next(struct peer *p)
{
	struct list_node *n;

	while ((n = list_first(&p->serve_wait)) != NULL) {
		struct exchange_serve *sv =
		    LIST_ITEM(n, struct exchange_serve, node);
		enum response_code code;

		if (p->serve_bytes > 0 &&
		    p->serve_bytes + exchange_serve_weight(sv) >
			LIMIT_SERVE_WINDOW)
			return;
		list_remove(&p->serve_wait, n);
		code = exchange_serve_begin(p, sv);
		if (code == RESPONSE_OK)
			continue;
		exchange_answer_error(p, sv->id, sv->chunks, code);
		exchange_serve_free(sv);
	}
}

/* Copies what `in` and `path` borrow. */
static void
exchange_serve_add(struct peer *p, struct exchange_serve in, struct slice path)
{
	struct exchange_serve *sv;

	if (p->serve_wait.count >= LIMIT_SERVE_QUEUE) {
		exchange_drop(p, "over %u requests wait for an answer",
		    LIMIT_SERVE_QUEUE);
		return;
	}
	sv = mem_alloc(sizeof(*sv));
	*sv = in;
	sv->peer = p;
	sv->path = slice_of(mem_dup(path.ptr, path.len), path.len);
	sv->range = in.range_count == 0
			? NULL
			: mem_dup(in.range, in.range_count * sizeof(*in.range));
	list_add(&p->serve_wait, &sv->node);
	exchange_serve_next(p);
}

void
exchange_serve_request(struct peer *p, const struct request *rq)
{
	struct exchange_serve sv = { .id = rq->id,
		.f = exchange_folder(p, rq->folder),
		.from_temp = rq->from_temporary };
	struct err err = { 0 };

	if (path_check(rq->name, &err) < 0) {
		exchange_drop(p, "request: %s", err.text);
		return;
	}
	if (sv.f == NULL) {
		exchange_answer_error(p, rq->id, false, RESPONSE_GENERIC);
		return;
	}
	if (rq->offset < 0 || rq->size < 0 ||
	    (uint64_t)rq->size > LIMIT_REQUEST_LEN) {
		exchange_answer_error(p, rq->id, false, RESPONSE_INVALID_FILE);
		return;
	}
	if (rq->size == 0) { /* some peers probe so; there is nothing to read */
		exchange_answer_error(p, rq->id, false, RESPONSE_OK);
		return;
	}
	sv.offset = rq->offset;
	sv.len = (uint32_t)rq->size;
	if (rq->hash.len == DIGEST_LEN) {
		sv.verify = true;
		memcpy(sv.hash.b, rq->hash.ptr, DIGEST_LEN);
	}
	exchange_serve_add(p, sv, rq->name);
}

void
exchange_serve_chunks(struct peer *p, const struct chunks_request *rq)
{
	struct exchange_serve sv = { .id = rq->id,
		.f = exchange_folder(p, rq->folder),
		.chunks = true,
		.range = rq->range,
		.range_count = rq->range_count };
	struct err err = { 0 };
	struct row *row;

	if (path_check(rq->name, &err) < 0) {
		exchange_drop(p, "chunks request: %s", err.text);
		return;
	}
	row = sv.f == NULL || !folder_talks(sv.f)
		  ? NULL
		  : index_row(sv.f->ix, rq->name, core_scratch(p->en));
	if (row == NULL || row_local(row) == NULL ||
	    !version_equal(row_local(row)->entry.version, rq->version)) {
		exchange_answer_error(p, rq->id, true, RESPONSE_NO_SUCH_FILE);
		return;
	}
	exchange_serve_add(p, sv, rq->name);
}

void
exchange_serve_stop(struct peer *p)
{
	struct list_node *n;

	while ((n = list_first(&p->serve_wait)) != NULL) {
		list_remove(&p->serve_wait, n);
		exchange_serve_free(LIST_ITEM(n, struct exchange_serve, node));
	}
}

void
exchange_serve_folder_closed(struct peer *p, const struct folder *f)
{
	struct list_node *n = list_first(&p->serve_wait), *next;

	for (; n != NULL; n = next) {
		struct exchange_serve *sv =
		    LIST_ITEM(n, struct exchange_serve, node);

		next = list_next(&p->serve_wait, n);
		if (sv->f != f)
			continue;
		list_remove(&p->serve_wait, n);
		exchange_answer_error(p, sv->id, sv->chunks, RESPONSE_GENERIC);
		exchange_serve_free(sv);
	}
}
