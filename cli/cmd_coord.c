/*
 * syncctl coord: how this node's own coordinator does, and what it wrote down.
 *
 * The audit log is read from its file, so it can be checked when syncd is down,
 * or broken.
 */
#include "cli/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cli/print.h"
#include "engine/base/limits.h"
#include "mesh/coord_audit.h"

#define CMD_COORD_FILE_MAX (32 * MIB)

static void
cmd_coord_print_domains(struct cmd_call *call, const json_t *coord)
{
	struct print_table t;
	const json_t *item;
	size_t i;

	if (json_array_size(json_object_get(coord, "domains")) == 0)
		return;
	print_table_init(&t, &call->ar, 5, true);
	print_cell(&t, "DOMAIN");
	print_cell(&t, "NAME");
	print_cell(&t, "MEMBERS");
	print_cell(&t, "HERE");
	print_cell(&t, "ENTRIES");
	json_array_foreach(json_object_get(coord, "domains"), i, item) {
		print_cell(&t,
		    arena_printf(&call->ar, "%.16s", cmd_text(item, "id")));
		print_cell(&t, print_safe(&call->ar, cmd_text(item, "name")));
		print_cell(&t,
		    print_count(&call->ar, cmd_int(item, "members")));
		print_cell(&t, print_count(&call->ar, cmd_int(item, "here")));
		print_cell(&t,
		    print_count(&call->ar, cmd_int(item, "entries")));
	}
	print_table(&t, stdout);
}

int
cmd_coord_status(struct cmd_call *call)
{
	json_t *status = NULL, *o;
	const json_t *coord, *disco;
	int code = cmd_ask(call, "GET", "/v1/status", &status);

	if (code != CMD_OK)
		return code;
	coord = json_object_get(status, "coordinator");
	if (options_has(&call->opt, "json")) {
		o = cmd_object();
		json_object_set(o, "coordinator", (json_t *)coord);
		json_object_set(o, "coordinators",
		    json_object_get(status, "coordinators"));
		code = json_is_object(coord) ? CMD_OK : CMD_NOT_FOUND;
		json_decref(status);
		return cmd_print_json(o, code);
	}
	if (!json_is_object(coord)) {
		json_decref(status);
		return cmd_fail_as(call, CMD_NOT_FOUND,
		    "syncctl config set coord.serve true",
		    "this node is no coordinator");
	}
	printf(
	    "serving at %s: %lld domains, %lld members here, %lld strangers, "
	    "%lld boxes\n",
	    cmd_text(coord, "listen"),
	    (long long)cmd_int(coord, "domain_count"),
	    (long long)cmd_int(coord, "members"),
	    (long long)cmd_int(coord, "strangers"),
	    (long long)cmd_int(coord, "boxes"));
	disco = json_object_get(coord, "discovery");
	if (json_is_object(disco))
		printf("discovery server: %lld devices; since the start %lld "
		       "announcements, %lld found, %lld not, %lld refused\n",
		    (long long)cmd_int(disco, "devices"),
		    (long long)cmd_int(disco, "announced"),
		    (long long)cmd_int(disco, "found"),
		    (long long)cmd_int(disco, "missed"),
		    (long long)cmd_int(disco, "refused"));
	cmd_coord_print_domains(call, coord);
	json_decref(status);
	return CMD_OK;
}

/* --- the audit log ---------------------------------------------------- */

/* ERR_NOT_FOUND when there is none. */
static int
cmd_coord_read(const char *path, struct buf *out, struct err *err)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 1;
	int rc = 0;

	if (fd < 0)
		return err_sys(err, errno, "%s", path);
	while (rc == 0 && n > 0) {
		buf_reserve(out, 64 * KIB);
		n = read(fd, out->ptr + out->len, 64 * KIB);
		if (n < 0)
			rc = err_sys(err, errno, "%s", path);
		out->len += n > 0 ? (size_t)n : 0;
		if (out->len > CMD_COORD_FILE_MAX)
			rc = err_set(err, ERR_LIMIT, "%s is too long", path);
	}
	close(fd);
	return rc;
}

/* What was put away, then what is written to now. */
static int
cmd_coord_read_audit(struct cmd_call *call, struct buf *out, struct err *err)
{
	const char *dir = call->home.coord_dir;
	int rc;

	rc = cmd_coord_read(arena_printf(&call->ar, "%s/audit.log.1", dir), out,
	    err);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	return cmd_coord_read(arena_printf(&call->ar, "%s/audit.log", dir), out,
	    err);
}

static int
cmd_coord_verify(struct cmd_call *call, struct slice log)
{
	struct coord_audit at = { 0 };
	struct err err = { 0 };
	char hex[2 * DIGEST_LEN + 1];
	json_t *o = cmd_object();
	bool good = true;

	while (good && log.len > 0) {
		const size_t n = slice_find(log, '\n');

		good =
		    coord_audit_check(&at,
			slice_to(log, n == SIZE_MAX ? log.len : n), &err) == 0;
		log = slice_from(log, n == SIZE_MAX ? log.len : n + 1);
	}
	for (size_t i = 0; i < DIGEST_LEN; i++)
		snprintf(hex + 2 * i, 3, "%02x", at.hash.b[i]);
	json_object_set_new(o, "good", json_boolean(good));
	json_object_set_new(o, "lines", json_integer((json_int_t)at.n));
	json_object_set_new(o, "head", json_string(hex));
	json_object_set_new(o, "error", json_string(err.text));
	if (options_has(&call->opt, "json"))
		return cmd_print_json(o, good ? CMD_OK : CMD_FAILED);
	json_decref(o);
	if (!good) {
		cmd_say("the audit log is broken: %s", err.text);
		return CMD_FAILED;
	}
	printf("good: %llu lines, head %s\n", (unsigned long long)at.n, hex);
	return CMD_OK;
}

static void
cmd_coord_print_line(struct cmd_call *call, const json_t *o)
{
	struct arena *ar = &call->ar;

	printf("%s  %-13s %.7s  %s  %s\n", print_safe(ar, cmd_text(o, "time")),
	    print_safe(ar, cmd_text(o, "what")),
	    cmd_text(o, "actor")[0] != '\0'
		? print_safe(ar, cmd_text(o, "actor"))
		: "-",
	    cmd_text(o, "from")[0] != '\0' ? print_safe(ar, cmd_text(o, "from"))
					   : "-",
	    print_safe(ar, cmd_text(o, "text")));
}

static int
cmd_coord_list(struct cmd_call *call, struct slice log)
{
	json_t *list = json_array();
	const json_t *item;
	json_t *o;
	size_t i;

	while (log.len > 0) {
		const size_t n = slice_find(log, '\n');
		const size_t len = n == SIZE_MAX ? log.len : n;

		o = json_loadb((const char *)log.ptr, len, 0, NULL);
		if (json_is_object(o))
			json_array_append(list, o);
		json_decref(o);
		log = slice_from(log, n == SIZE_MAX ? log.len : n + 1);
	}
	o = cmd_object();
	json_object_set_new(o, "lines", list);
	if (options_has(&call->opt, "jsonl"))
		return cmd_print_jsonl(o, "lines", CMD_OK);
	if (options_has(&call->opt, "json"))
		return cmd_print_json(o, CMD_OK);
	json_array_foreach(list, i, item)
		cmd_coord_print_line(call, item);
	json_decref(o);
	return CMD_OK;
}

int
cmd_coord_audit(struct cmd_call *call)
{
	struct buf log = { 0 };
	struct err err = { 0 };
	struct slice whole;
	int code;

	if (cmd_coord_read_audit(call, &log, &err) < 0) {
		buf_fini(&log);
		if (err.code != ERR_NOT_FOUND)
			return cmd_fail(call, &err);
		return cmd_fail_as(call, CMD_NOT_FOUND,
		    "syncctl config set coord.serve true",
		    "there is no audit log: this node was no coordinator");
	}
	/* A line that is being written, or was when the power went. */
	whole = slice_to(buf_slice(&log), coord_audit_whole(buf_slice(&log)));
	code = options_has(&call->opt, "verify") ? cmd_coord_verify(call, whole)
						 : cmd_coord_list(call, whole);
	buf_fini(&log);
	return code;
}
