/*
 * Glob patterns; see ignore_glob.h.
 */
#include "engine/ignore_glob.h"

#include "engine/base/mem.h"

#define GLOB_INSTS_MAX 16384u
#define GLOB_NEST_MAX 32u

/* The next code point; bytes that are no UTF-8 stand for themselves. */
static uint32_t
ignore_rune(struct slice *s)
{
	const uint8_t *p = s->ptr;
	uint32_t r = p[0];
	size_t n = r < 0xc0 ? 1 : r < 0xe0 ? 2 : r < 0xf0 ? 3 : 4;

	if (n > s->len)
		n = 1;
	if (n > 1) {
		r &= 0x7fu >> n;
		for (size_t i = 1; i < n; i++)
			r = r << 6 | (p[i] & 0x3fu);
	}
	*s = slice_from(*s, n);
	return r;
}

/*
 * Lower case of the scripts people name files in: Latin, Greek, Cyrillic,
 * Armenian, full-width Latin.  The locale's tables are not used: the answer
 * must be the same everywhere.
 */
static uint32_t
ignore_lower(uint32_t r)
{
	/* Where capitals and small letters stand apart. */
	static const struct {
		uint32_t first, last, add;
	} apart[] = {
		{ 'A', 'Z', 32 },
		{ 0xc0, 0xd6, 32 },
		{ 0xd8, 0xde, 32 },
		{ 0x386, 0x386, 38 },
		{ 0x388, 0x38a, 37 },
		{ 0x38c, 0x38c, 64 },
		{ 0x38e, 0x38f, 63 },
		{ 0x391, 0x3a1, 32 },
		{ 0x3a3, 0x3ab, 32 },
		{ 0x400, 0x40f, 80 },
		{ 0x410, 0x42f, 32 },
		{ 0x4c0, 0x4c0, 15 },
		{ 0x531, 0x556, 48 },
		{ 0xff21, 0xff3a, 32 },
	};
	/* Where each capital, even or odd, is followed by its small letter. */
	static const struct {
		uint32_t first, last;
	} pair[] = {
		{ 0x100, 0x12f },
		{ 0x132, 0x137 },
		{ 0x139, 0x148 },
		{ 0x14a, 0x177 },
		{ 0x179, 0x17e },
		{ 0x1cd, 0x1dc },
		{ 0x1de, 0x1ef },
		{ 0x1f8, 0x21f },
		{ 0x222, 0x233 },
		{ 0x460, 0x481 },
		{ 0x48a, 0x4bf },
		{ 0x4c1, 0x4ce },
		{ 0x4d0, 0x52f },
		{ 0x1e00, 0x1e95 },
		{ 0x1ea0, 0x1eff },
	};

	if (r < 0xc0)
		return r >= 'A' && r <= 'Z' ? r + 32 : r;
	if (r == 0x178)
		return 0xff;
	if (r == 0x1e9e)
		return 0xdf;
	for (size_t i = 0; i < sizeof(apart) / sizeof(*apart); i++)
		if (r >= apart[i].first && r <= apart[i].last)
			return r + apart[i].add;
	for (size_t i = 0; i < sizeof(pair) / sizeof(*pair); i++)
		if (r >= pair[i].first && r <= pair[i].last)
			return r + ((r ^ pair[i].first ^ 1) & 1);
	return r;
}

struct ignore_compiler {
	struct ignore_glob *out;
	struct slice rest; /* of the pattern */
	uint32_t escape;
	uint32_t depth; /* of braces */
	struct buf run; /* the literal that ends here, outside of braces */
	struct err *err;
};

static uint32_t
ignore_emit(struct ignore_compiler *c, enum ignore_op op, uint32_t lo,
    uint32_t hi)
{
	*VEC_ADD(&c->out->inst) =
	    (struct ignore_inst){ .op = op, .lo = lo, .hi = hi };
	return (uint32_t)c->out->inst.len - 1;
}

/* SPLIT, `op`, JUMP back: any number of what `op` takes. */
static void
ignore_emit_loop(struct ignore_compiler *c, enum ignore_op op)
{
	const uint32_t split = ignore_emit(c, GLOB_SPLIT, 0, 0);
	uint32_t jump;

	ignore_emit(c, op, 0, 0);
	jump = ignore_emit(c, GLOB_JUMP, 0, 0); /* may move the array */
	c->out->inst.item[jump].x = split;
	c->out->inst.item[split].x = (uint32_t)c->out->inst.len;
}

static uint32_t
ignore_fold(const struct ignore_compiler *c, uint32_t r)
{
	return c->out->fold ? ignore_lower(r) : r;
}

/* One character of the pattern, the escape undone; false at a lone escape. */
static bool
ignore_take(struct ignore_compiler *c, uint32_t *r)
{
	*r = ignore_rune(&c->rest);
	if (*r != c->escape)
		return true;
	if (c->rest.len == 0)
		return false;
	*r = ignore_rune(&c->rest);
	return true;
}

static int
ignore_compile_class(struct ignore_compiler *c)
{
	uint32_t at;
	bool not = false;

	if (c->rest.len > 0 && c->rest.ptr[0] == '!') {
		not = true;
		c->rest = slice_from(c->rest, 1);
	}
	at = ignore_emit(c, GLOB_CLASS, 0, not );
	for (bool first = true;; first = false) {
		uint32_t lo, hi;

		if (c->rest.len == 0)
			return err_set(c->err, ERR_INVALID, "'[' without ']'");
		if (c->rest.ptr[0] == ']' && !first)
			break;
		if (!ignore_take(c, &lo))
			return err_set(c->err, ERR_INVALID, "ends in escape");
		hi = lo;
		if (c->rest.len > 1 && c->rest.ptr[0] == '-' &&
		    c->rest.ptr[1] != ']') {
			c->rest = slice_from(c->rest, 1);
			if (!ignore_take(c, &hi))
				return err_set(c->err, ERR_INVALID,
				    "ends in escape");
		}
		if (hi < lo)
			return err_set(c->err, ERR_INVALID,
			    "a range that runs backwards in '[]'");
		ignore_emit(c, GLOB_RANGE, ignore_fold(c, lo),
		    ignore_fold(c, hi));
		c->out->inst.item[at].x++;
	}
	c->rest = slice_from(c->rest, 1);
	return 0;
}

static int ignore_compile_run(struct ignore_compiler *c, bool in_braces);

/* After '{': alternatives up to the matching '}'. */
static int
ignore_compile_braces(struct ignore_compiler *c)
{
	VEC(uint32_t) jump = { 0 };
	int rc = 0;

	if (++c->depth > GLOB_NEST_MAX)
		return err_set(c->err, ERR_INVALID, "braces nested too deep");
	for (;;) {
		const uint32_t split = ignore_emit(c, GLOB_SPLIT, 0, 0);
		uint8_t end;

		rc = ignore_compile_run(c, true);
		if (rc < 0)
			break;
		if (c->rest.len == 0) {
			rc = err_set(c->err, ERR_INVALID, "'{' without '}'");
			break;
		}
		end = c->rest.ptr[0];
		c->rest = slice_from(c->rest, 1);
		if (end == '}') { /* the last one needs no way past it */
			c->out->inst.item[split].x = split + 1;
			break;
		}
		*VEC_ADD(&jump) = ignore_emit(c, GLOB_JUMP, 0, 0);
		c->out->inst.item[split].x = (uint32_t)c->out->inst.len;
	}
	for (size_t i = 0; i < jump.len; i++)
		c->out->inst.item[jump.item[i]].x = (uint32_t)c->out->inst.len;
	VEC_FINI(&jump);
	c->depth--;
	return rc;
}

static void
ignore_end_run(struct ignore_compiler *c)
{
	if (c->run.len > c->out->literal.len && !c->out->fold) {
		buf_clear(&c->out->literal);
		buf_put(&c->out->literal, buf_slice(&c->run));
	}
	buf_clear(&c->run);
}

/* The next character stands for itself. */
static int
ignore_compile_char(struct ignore_compiler *c)
{
	const struct slice from = c->rest;
	const uint32_t r = ignore_rune(&c->rest);

	ignore_emit(c, GLOB_CHAR, ignore_fold(c, r), 0);
	if (c->depth == 0)
		buf_put(&c->run, slice_to(from, from.len - c->rest.len));
	return 0;
}

static int
ignore_compile_one(struct ignore_compiler *c)
{
	const struct slice from = c->rest;
	const uint32_t r = ignore_rune(&c->rest);

	if (r == c->escape) {
		if (c->rest.len == 0)
			return err_set(c->err, ERR_INVALID, "ends in escape");
		return ignore_compile_char(c);
	}
	if (r != '*' && r != '?' && r != '[' && r != '{') {
		c->rest = from;
		return ignore_compile_char(c);
	}
	if (c->depth == 0)
		ignore_end_run(c);
	switch (r) {
	case '*':
		if (c->rest.len == 0 || c->rest.ptr[0] != '*') {
			ignore_emit_loop(c, GLOB_NAME);
			return 0;
		}
		while (c->rest.len > 0 && c->rest.ptr[0] == '*')
			c->rest = slice_from(c->rest, 1);
		ignore_emit_loop(c, GLOB_ANY);
		return 0;
	case '?':
		ignore_emit(c, GLOB_NAME, 0, 0);
		return 0;
	case '[':
		return ignore_compile_class(c);
	default:
		return ignore_compile_braces(c);
	}
}

static int
ignore_compile_run(struct ignore_compiler *c, bool in_braces)
{
	while (c->rest.len > 0) {
		int rc;

		if (in_braces &&
		    (c->rest.ptr[0] == ',' || c->rest.ptr[0] == '}'))
			return 0;
		if (c->out->inst.len > GLOB_INSTS_MAX)
			return err_set(c->err, ERR_INVALID, "pattern too long");
		rc = ignore_compile_one(c);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int
ignore_glob_compile(struct ignore_glob *out, struct slice pattern,
    struct ignore_glob_style style, struct err *err)
{
	struct ignore_compiler c = { .out = out,
		.rest = pattern,
		.escape = style.escape,
		.err = err };
	uint32_t split;
	int rc;

	memset(out, 0, sizeof(*out));
	out->fold = style.fold;
	if (style.anywhere) { /* (**\/)? */
		split = ignore_emit(&c, GLOB_SPLIT, 0, 0);
		ignore_emit_loop(&c, GLOB_ANY);
		ignore_emit(&c, GLOB_CHAR, '/', 0);
		out->inst.item[split].x = (uint32_t)out->inst.len;
	}
	rc = ignore_compile_run(&c, false);
	ignore_end_run(&c);
	buf_fini(&c.run);
	if (rc < 0) {
		ignore_glob_fini(out);
		return rc;
	}
	if (style.below) { /* (/\**)? */
		split = ignore_emit(&c, GLOB_SPLIT, 0, 0);
		ignore_emit(&c, GLOB_CHAR, '/', 0);
		ignore_emit_loop(&c, GLOB_ANY);
		out->inst.item[split].x = (uint32_t)out->inst.len;
	}
	ignore_emit(&c, GLOB_MATCH, 0, 0);
	return 0;
}

void
ignore_glob_fini(struct ignore_glob *g)
{
	VEC_FINI(&g->inst);
	buf_fini(&g->literal);
}

static bool
ignore_has_literal(struct slice path, struct slice literal)
{
	const uint8_t *p = path.ptr;
	const uint8_t *end = path.ptr + path.len;

	if (literal.len == 0)
		return true;
	while ((size_t)(end - p) >= literal.len) {
		p = memchr(p, literal.ptr[0],
		    (size_t)(end - p) - literal.len + 1);
		if (p == NULL)
			return false;
		if (memcmp(p, literal.ptr, literal.len) == 0)
			return true;
		p++;
	}
	return false;
}

/* The ways being followed: instruction numbers, each once. */
struct ignore_ways {
	uint32_t *item;
	uint32_t *mark; /* by instruction: the round it was added in */
	uint32_t count;
	uint32_t *todo; /* stack of ignore_follow() */
};

static void
ignore_follow(const struct ignore_glob *g, struct ignore_ways *w, uint32_t at,
    uint32_t round)
{
	uint32_t n = 0;

	w->todo[n++] = at;
	while (n > 0) {
		const uint32_t pc = w->todo[--n];
		const struct ignore_inst *in = &g->inst.item[pc];

		if (w->mark[pc] == round)
			continue;
		w->mark[pc] = round;
		switch (in->op) {
		case GLOB_SPLIT:
			w->todo[n++] = in->x;
			w->todo[n++] = pc + 1;
			break;
		case GLOB_JUMP:
			w->todo[n++] = in->x;
			break;
		case GLOB_CHAR:
		case GLOB_RANGE:
		case GLOB_CLASS:
		case GLOB_NAME:
		case GLOB_ANY:
		case GLOB_MATCH:
			w->item[w->count++] = pc;
			break;
		}
	}
}

/* Does the instruction take this rune?  *next is where it goes on. */
static bool
ignore_takes(const struct ignore_glob *g, uint32_t pc, uint32_t r,
    uint32_t *next)
{
	const struct ignore_inst *in = &g->inst.item[pc];
	bool in_class = false;

	*next = pc + 1;
	switch (in->op) {
	case GLOB_CHAR:
		return r == in->lo;
	case GLOB_NAME:
		return r != '/';
	case GLOB_ANY:
		return true;
	case GLOB_CLASS:
		for (uint32_t i = 1; i <= in->x; i++)
			in_class = in_class || (r >= in[i].lo && r <= in[i].hi);
		*next = pc + 1 + in->x;
		return r != '/' && in_class != (in->hi != 0);
	case GLOB_RANGE:
	case GLOB_SPLIT:
	case GLOB_JUMP:
	case GLOB_MATCH:
		break;
	}
	return false;
}

static bool
ignore_run_machine(const struct ignore_glob *g, struct slice path)
{
	const size_t n = g->inst.len;
	uint32_t small[512];
	uint32_t *mem = n * 6 <= 512 ? small : mem_alloc(n * 6 * sizeof(*mem));
	/* A split pushes two for one: the stack is twice the program. */
	struct ignore_ways now = { mem, mem + n, 0, mem + 2 * n };
	struct ignore_ways next = { mem + 4 * n, now.mark, 0, now.todo };
	uint32_t round = 1;
	bool hit = false;

	memset(now.mark, 0, n * sizeof(*now.mark));
	ignore_follow(g, &now, 0, round);
	while (path.len > 0 && now.count > 0) {
		uint32_t r = ignore_rune(&path);
		struct ignore_ways swap;

		if (g->fold)
			r = ignore_lower(r);
		round++;
		next.count = 0;
		for (uint32_t i = 0; i < now.count; i++) {
			uint32_t to;

			if (ignore_takes(g, now.item[i], r, &to))
				ignore_follow(g, &next, to, round);
		}
		swap = now;
		now = next;
		next = swap;
	}
	for (uint32_t i = 0; i < now.count && path.len == 0; i++)
		hit = hit || g->inst.item[now.item[i]].op == GLOB_MATCH;
	if (mem != small)
		mem_free(mem);
	return hit;
}

bool
ignore_glob_match(const struct ignore_glob *g, struct slice path)
{
	return ignore_has_literal(path, buf_slice(&g->literal)) &&
	       ignore_run_machine(g, path);
}
