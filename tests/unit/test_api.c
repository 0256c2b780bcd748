/* The local API: routes, JSON and exit codes, over a daemon that is made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/api.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "mesh/forward.h"

#define S(text) SLICE_LIT(text)

/* A daemon with two folders and two devices. */
static struct {
	struct status_folder folder[2];
	struct status_share share[2];
	struct status_device device[2];
	struct status_problem problem[3];
	struct net_peer_status peer[2];
	struct net_pending_status pending;
	struct setup_device setup_device[2];
	struct config_device config_device[2];
	struct setup_folder setup_folder[1];
	struct config_folder config_folder[1];
	struct config config;
	struct api_pending_folder offered;
	struct slice config_error;
	int reload_rc;
	int explain_rc;
	struct explain explain;
	struct net_counts counts;
	char last_command[256];
	uint64_t checks; /* of the network */
	int forward_rc;
	struct forward_uv_fate fate;
} fake;

static const struct devid self = { { 1 } }, lap = { { 2 } }, phone = { { 3 } };

static struct now
fake_now(void *arg)
{
	(void)arg;
	return (struct now){ .mono_ns = 1,
		.wall_ns = INT64_C(1700000000) * (int64_t)CLOCK_S };
}

static void
fake_facts(void *arg, struct arena *ar, struct api_facts *out)
{
	(void)arg;
	(void)ar;
	*out = (struct api_facts){
		.config = &fake.config,
		.started_wall_ns = INT64_C(1699990000) * (int64_t)CLOCK_S,
		.config_file = "/etc/config",
		.config_error = fake.config_error,
		.pending_folder = &fake.offered,
		.pending_folder_count = fake.offered.id.len > 0,
	};
}

static void
fake_status(void *arg, struct arena *ar, struct status_report *out)
{
	(void)arg;
	(void)ar;
	*out = (struct status_report){
		.self = self,
		.name = S("hub"),
		.folder = fake.folder,
		.folder_count = 2,
		.device = fake.device,
		.device_count = 2,
	};
}

static void
fake_net(void *arg, struct arena *ar, struct net_status *out)
{
	static const struct net_portmap_status portmap = { "quic://:22000",
		true, "203.0.113.5:1001", "pcp", "" };

	(void)arg;
	(void)ar;
	*out = (struct net_status){
		.portmap = &portmap,
		.portmap_count = 1,
		.peer = fake.peer,
		.peer_count = 2,
		.pending = &fake.pending,
		.pending_count = fake.pending.name != NULL,
		.announce_error = "",
		.counts = fake.counts,
	};
}

static int
fake_explain(void *arg, struct slice folder, struct slice path,
    struct arena *ar, struct explain *out, struct err *err)
{
	(void)arg;
	(void)ar;
	snprintf(fake.last_command, sizeof(fake.last_command),
	    "explain %.*s %.*s", SLICE_FMT(folder), SLICE_FMT(path));
	*out = fake.explain;
	if (fake.explain_rc < 0)
		return err_set(err, (enum err_code)fake.explain_rc, "not now");
	return 0;
}

static int
fake_ignore(void *arg, struct slice folder, struct slice path,
    struct ignore_match *out, struct err *err)
{
	(void)arg;
	(void)folder;
	(void)err;
	*out = (struct ignore_match){
		.ignored = slice_has_suffix(path, S(".tmp")),
	};
	if (out->ignored) {
		out->file = S(".stignore");
		out->line = 3;
		out->rule = S("*.tmp");
	}
	return 0;
}

static bool
fake_plan(void *arg, struct slice folder, struct slice after, bool held,
    uint32_t limit, struct arena *ar, struct plan_page *out)
{
	static const struct plan_entry entry[] = {
		{ .path = { (const uint8_t *)"a", 1 },
		    .act = PLAN_DELETE,
		    .size = 5,
		    .reason = REASON_MASS_CHANGE },
		{ .path = { (const uint8_t *)"b", 1 },
		    .act = PLAN_CREATE,
		    .type = ENTRY_DIR },
	};
	const bool second = slice_equal(after, S("a"));

	(void)arg;
	(void)ar;
	*out = (struct plan_page){ .entry = &entry[second], .count = 1 };
	if (!second && !held)
		out->next = S("a");
	assert_int_equal(limit, second ? 1 : 0);
	return slice_equal(folder, S("docs"));
}

static bool
fake_conflicts(void *arg, struct slice folder, struct arena *ar,
    const struct status_conflict **out, uint32_t *count)
{
	static const struct status_conflict one = {
		.path = { (const uint8_t *)"a.sync-conflict-x", 17 },
		.original = { (const uint8_t *)"a", 1 },
		.size = 5,
		.mtime_s = INT64_MAX, /* hostile: no time at all */
	};

	(void)arg;
	(void)ar;
	*out = &one;
	*count = 1;
	return slice_equal(folder, S("docs"));
}

static int
fake_reload(void *arg, struct err *err)
{
	(void)arg;
	if (fake.reload_rc < 0)
		return err_set(err, (enum err_code)fake.reload_rc,
		    "config:3: bad");
	return 0;
}

static int
fake_rules(void *arg, struct slice folder, struct arena *ar,
    const struct ignore_match **out, uint32_t *count, struct err *err)
{
	struct ignore_match *rule = arena_array(ar, 2, sizeof(*rule));

	(void)arg;
	if (!slice_equal(folder, SLICE_LIT("docs")))
		return err_set(err, ERR_BUSY, "not open");
	rule[0] = (struct ignore_match){ .ignored = true,
		.file = S(".stignore"),
		.line = 1,
		.rule = S("*.tmp") };
	rule[1] = (struct ignore_match){ .file = S("more"),
		.line = 7,
		.rule = S("!keep") };
	*out = rule;
	*count = 2;
	return 0;
}

static int
fake_command(void *arg, enum command_kind kind, struct slice folder,
    struct slice path, struct err *err)
{
	(void)arg;
	(void)err;
	snprintf(fake.last_command, sizeof(fake.last_command), "%d %.*s %.*s",
	    (int)kind, SLICE_FMT(folder), SLICE_FMT(path));
	return 0;
}

static int
fake_pause(void *arg, bool is_folder, struct slice name, bool on,
    struct err *err)
{
	(void)arg;
	(void)err;
	snprintf(fake.last_command, sizeof(fake.last_command), "%s %.*s %s",
	    is_folder ? "folder" : "device", SLICE_FMT(name),
	    on ? "pause" : "resume");
	return 0;
}

static uint64_t
fake_ping(void *arg, const struct devid *id)
{
	struct net_peer_status *p = &fake.peer[devid_equal(id, &phone)];

	(void)arg;
	return p->connected ? ++p->echo.asked : 0;
}

static void
fake_refresh(void *arg)
{
	(void)arg;
}

static void
fake_self(void *arg, struct arena *ar, struct api_self *out)
{
	(void)arg;
	(void)ar;
	*out = (struct api_self){ .pid = 7,
		.seccomp.on = true,
		.landlock.why = "it is off in this kernel",
		.denied = 2,
		.denied_names = S("ioctl"),
		.fd_used = 30,
		.fd_limit = 1024,
		.watches = 5 };
}

static void
fake_check_net(void *arg)
{
	(void)arg;
	fake.checks++;
}

static void
fake_netcheck(void *arg, struct arena *ar, struct net_netcheck *out)
{
	static const struct net_netcheck_server server[] = {
		{ "192.0.2.1:3478", true, 12500000, "203.0.113.5:1000", "" },
		{ "stun.example:3478", false, 0, "", "unknown node" },
	};
	static const char *const users[] = { "laptop" };
	static const struct net_netcheck_relay relay[] = {
		{ "192.0.2.9:22067", true, true, 3000000, "", users, 1 },
		{ "192.0.2.8:22067", false, false, 0, "", NULL, 0 },
	};

	(void)arg;
	(void)ar;
	*out = (struct net_netcheck){ .socket = true,
		.rounds = fake.checks,
		.v4 = { 3, 1, "203.0.113.5:1000", NATCHECK_BY_PORT,
		    NATCHECK_HAIRPIN_NO, 12500000, 7 * CLOCK_S, { 0 } },
		.v6 = { .mapped = "" },
		.server = server,
		.server_count = 2,
		.relay = relay,
		.relay_count = 2,
		.opened = 2 };
	out->failed[PUNCH_HARD_BOTH] = 4;
}

static int
fake_forward_ask(void *arg, const struct devid *id, uint16_t port,
    uint64_t *number, struct err *err)
{
	(void)arg;
	(void)err;
	fake.fate = (struct forward_uv_fate){ .id = *id, .port = port };
	*number = 7;
	return fake.forward_rc;
}

static bool
fake_forward_look(void *arg, uint64_t number, struct forward_uv_fate *out)
{
	(void)arg;
	*out = fake.fate;
	return number == 7;
}

static const struct api_backend backend = {
	.forward_ask = fake_forward_ask,
	.forward_look = fake_forward_look,
	.now = fake_now,
	.facts = fake_facts,
	.status = fake_status,
	.net = fake_net,
	.explain = fake_explain,
	.ignore_test = fake_ignore,
	.ignore_rules = fake_rules,
	.plan = fake_plan,
	.conflicts = fake_conflicts,
	.reload = fake_reload,
	.command = fake_command,
	.pause = fake_pause,
	.ping = fake_ping,
	.refresh = fake_refresh,
	.check_net = fake_check_net,
	.netcheck = fake_netcheck,
	.self = fake_self,
};

static struct api *api;
static struct events *events;

static int
setup(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof(fake));
	fake.share[0] = (struct status_share){ .device = lap,
		.connected = true,
		.known = true };
	fake.share[1] = (struct status_share){ .device = phone,
		.known = true,
		.reason = REASON_OFFLINE };
	fake.folder[0] = (struct status_folder){ .id = S("docs"),
		.label = S("Papers"),
		.path = S("/data/docs"),
		.state = STATUS_IN_SYNC,
		.idle = true,
		.watch = WATCH_FULL,
		.copies_have = 3,
		.copies_want = 3,
		.share = fake.share,
		.share_count = 2,
		.problem = fake.problem };
	fake.folder[1] = (struct status_folder){ .id = S("photos"),
		.label = S("photos"),
		.path = S("/data/photos"),
		.mode = FOLDER_RECEIVE_ONLY,
		.state = STATUS_IN_SYNC,
		.idle = true,
		.watch = WATCH_FULL };
	fake.device[0] = (struct status_device){ .id = lap,
		.name = S("laptop"),
		.connected = true };
	fake.device[1] =
	    (struct status_device){ .id = phone, .name = S("phone") };
	fake.peer[0] = (struct net_peer_status){ .id = lap,
		.name = "laptop",
		.connected = true,
		.lan = true,
		.address = "192.168.1.23:22000",
		.tls = "TLS1.3",
		.client = "syncthing v1.19.2",
		.last_error = "",
		.rtt_ns = 400000 };
	fake.peer[1] = (struct net_peer_status){ .id = phone,
		.name = "phone",
		.address = "",
		.tls = "",
		.client = "",
		.last_error = "timed out" };
	fake.setup_device[0].id = lap;
	fake.setup_device[1].id = phone;
	fake.config.setup.device = fake.setup_device;
	fake.config.setup.device_count = 2;
	fake.config.device = fake.config_device;
	fake.config_device[1].max_silence_ns = 7 * 24 * CLOCK_HOUR;
	fake.setup_folder[0].id = S("docs");
	fake.config.setup.folder = fake.setup_folder;
	fake.config.setup.folder_count = 1;
	fake.config.folder = fake.config_folder;
	events = events_new();
	api = api_new(&backend, events);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	api_free(api);
	events_free(events);
	return 0;
}

/* A query as text: "a=b&c=d". */
static const char *
query(void *arg, const char *name)
{
	static char values[8][256];
	static unsigned turn;
	char *value = values[turn++ % 8];
	const char *at = arg;
	const size_t len = strlen(name);

	while (at != NULL && *at != '\0') {
		const size_t n = strcspn(at, "&");

		if (strncmp(at, name, len) == 0 && at[len] == '=') {
			snprintf(value, sizeof(values[0]), "%.*s",
			    (int)(n - len - 1), at + len + 1);
			return value;
		}
		at += n + (at[n] == '&');
	}
	return NULL;
}

static struct api_answer
call(const char *method, const char *path, const char *args, bool final)
{
	char copy[256];
	struct api_request rq = {
		.method = method,
		.path = path,
		.query = query,
		.arg = copy,
	};
	struct api_answer answer;

	snprintf(copy, sizeof(copy), "%s", args);
	api_handle(api, &rq, final, &answer);
	return answer;
}

static json_t *
get(const char *path, const char *args)
{
	struct api_answer a = call("GET", path, args, true);

	assert_int_equal(a.status, 200);
	assert_string_equal(
	    json_string_value(json_object_get(a.body, "schema")), "syncctl/1");
	return a.body;
}

static int
exit_of(const json_t *o)
{
	return (int)json_integer_value(json_object_get(o, "exit"));
}

static const char *
text(const json_t *o, const char *key)
{
	const char *t = json_string_value(json_object_get(o, key));

	return t == NULL ? "(none)" : t;
}

static const json_t *
item(const json_t *o, const char *list, size_t i)
{
	return json_array_get(json_object_get(o, list), i);
}

static void
expect_status(int code, const char *problem)
{
	json_t *o = get("/v1/status", "");
	const json_t *first = item(o, "problems", 0);

	assert_int_equal(exit_of(o), code);
	if (problem == NULL) {
		assert_null(first);
	} else {
		assert_string_equal(text(first, "code"), problem);
		assert_string_not_equal(text(first, "since"), "(none)");
	}
	json_decref(o);
}

static void
api_devices_say_why_they_are_known(void **state)
{
	const json_t *a, *b;
	json_t *o;

	(void)state;
	fake.config_device[0].member = true;
	fake.setup_device[1].introduced_by = lap;
	o = get("/v1/devices", "");
	a = item(o, "devices", 0);
	b = item(o, "devices", 1);
	assert_string_equal(text(a, "source"), "member");
	assert_true(json_is_null(json_object_get(a, "introduced_by")));
	assert_string_equal(text(b, "source"), "introducer");
	assert_string_equal(text(b, "introduced_by"), "laptop");
	json_decref(o);
	fake.setup_device[1].introduced_by = (struct devid){ { 0 } };
	o = get("/v1/devices", "");
	assert_string_equal(text(item(o, "devices", 1), "source"), "config");
	json_decref(o);
}

static void
api_status_is_0_when_all_is_in_sync(void **state)
{
	json_t *o = get("/v1/status", "");

	(void)state;
	assert_int_equal(exit_of(o), 0);
	assert_string_equal(text(o, "health"), "healthy");
	assert_string_equal(text(item(o, "folders", 0), "state"), "in_sync");
	assert_string_equal(
	    text(json_object_get(item(o, "devices", 0), "path"), "kind"),
	    "direct");
	assert_string_equal(
	    text(json_object_get(item(o, "devices", 1), "path"), "kind"),
	    "none");
	json_decref(o);
}

static void
api_status_is_4_while_work_is_under_way(void **state)
{
	(void)state;
	fake.folder[1].state = STATUS_RECEIVING;
	fake.folder[1].need.bytes = 1000;
	fake.folder[1].rate = 100;
	expect_status(4, NULL);
}

static void
api_status_is_4_while_a_peer_lacks_something(void **state)
{
	(void)state;
	fake.share[1].need.items = 3;
	expect_status(4, NULL);
	/* A device that a person paused is not waited for. */
	fake.share[1].reason = REASON_PAUSED;
	expect_status(0, NULL);
}

static void
api_status_is_5_when_a_person_should_look(void **state)
{
	(void)state;
	fake.folder[0].conflicts = 2;
	expect_status(5, "folder.conflict");
	fake.folder[0].conflicts = 0;
	fake.folder[0].watch = WATCH_PARTIAL;
	expect_status(5, "folder.watch-limit");
	fake.folder[0].watch = WATCH_FULL;
	fake.problem[0] = (struct status_problem){ .path = S("a"),
		.reason = REASON_UNREADABLE };
	fake.problem[1] =
	    (struct status_problem){ .path = S("b"), .reason = REASON_QUEUED };
	fake.problem[2] = (struct status_problem){ .path = S("c"),
		.reason = REASON_UNREADABLE };
	fake.folder[0].problem_listed = 3;
	expect_status(5, "item.unreadable");
	fake.folder[0].problem_listed = 0;
	fake.peer[1].last_seen_wall_ns = INT64_C(1699000000) * (int64_t)CLOCK_S;
	expect_status(5, "device.stale");
	fake.config_device[1].max_silence_ns = 0;
	expect_status(0, NULL);
	fake.config_error = S("config:3: bad");
	expect_status(5, "config.refused");
}

static void
api_status_tells_of_a_disk_that_is_nearly_full(void **state)
{
	struct disk_space *space = &fake.folder[0].space;
	struct config_folder *cfg = &fake.config_folder[0];
	const json_t *shown;
	json_t *o;

	(void)state;
	cfg->low_space = 1 * GIB;
	cfg->low_space_default = true;
	expect_status(0, NULL); /* nobody looked yet */
	*space = (struct disk_space){ .free = GIB - 1, .total = 100 * GIB };
	expect_status(5, "folder.low-space");
	o = get("/v1/status", "");
	shown = json_object_get(item(o, "folders", 0), "space");
	assert_int_equal(json_integer_value(json_object_get(shown, "free")),
	    GIB - 1);
	json_decref(o);
	space->total = 10 * GIB; /* more than a twentieth of it */
	expect_status(0, NULL);
	cfg->low_space_default = false;
	expect_status(5, "folder.low-space");
	space->free = GIB;
	expect_status(0, NULL);
	space->free = 0;
	cfg->low_space = 0;
	expect_status(0, NULL);
}

static void
api_status_tells_of_what_no_other_device_has(void **state)
{
	const int64_t day = 24 * (int64_t)CLOCK_HOUR;
	const int64_t now = INT64_C(1700000000) * (int64_t)CLOCK_S;
	struct config_folder *cfg = &fake.config_folder[0];

	(void)state;
	cfg->single_copy_ns = 24 * CLOCK_HOUR;
	fake.config_device[1].max_silence_ns = 0;
	fake.folder[0].copies_have = 1;
	fake.share[0].need.items = 5;
	fake.share[0].connected = false;
	fake.share[0].reason = REASON_OFFLINE;
	fake.share[1].need.items = 3;
	fake.peer[0].connected = false;
	fake.peer[0].last_seen_wall_ns = now - 5 * day;
	fake.peer[1].last_seen_wall_ns = now - 2 * day;
	expect_status(5, "folder.single-copy");
	fake.peer[1].last_seen_wall_ns = now - day;
	expect_status(4, NULL); /* not yet for so long */
	fake.peer[1].last_seen_wall_ns = now - 2 * day;
	fake.folder[0].copies_have = 2;
	expect_status(4, NULL);
	fake.folder[0].copies_have = 1;
	fake.folder[0].need.items = 1; /* we have not all of it either */
	expect_status(4, NULL);
	fake.folder[0].need.items = 0;
	fake.share[1].connected = true; /* it is getting it */
	fake.share[1].reason = REASON_NONE;
	expect_status(4, NULL);
	fake.share[1].reason = REASON_PEER_NOT_SHARING;
	expect_status(5, "folder.single-copy");
	cfg->single_copy_ns = 0;
	expect_status(4, NULL);
}

static void
api_status_tells_of_a_device_that_stays_relayed(void **state)
{
	const int64_t now = INT64_C(1700000000) * (int64_t)CLOCK_S;

	(void)state;
	fake.config_device[0].max_relayed_ns = 10 * CLOCK_MIN;
	fake.peer[0].relayed = true;
	fake.peer[0].detour = MESH_HARD_NAT_BOTH;
	fake.peer[0].since_wall_ns = now - 11 * (int64_t)CLOCK_MIN;
	expect_status(5, "device.slow-path");
	fake.peer[0].detour = MESH_DIRECT_UNTRIED;
	expect_status(0, NULL);
	fake.peer[0].detour = MESH_HARD_NAT_BOTH;
	fake.peer[0].since_wall_ns = now - 9 * (int64_t)CLOCK_MIN;
	expect_status(0, NULL);
	fake.peer[0].since_wall_ns = now - 11 * (int64_t)CLOCK_MIN;
	fake.config_device[0].max_relayed_ns = 0;
	expect_status(0, NULL);
}

static void
expect_limit(const char *device, bool here)
{
	json_t *o = get("/v1/status", "");
	const json_t *limit = json_object_get(item(o, "folders", 0), "limit");

	if (device == NULL) {
		assert_true(json_is_null(limit));
	} else {
		assert_string_equal(text(limit, "device"), device);
		assert_int_equal(json_is_true(json_object_get(limit, "here")),
		    here);
	}
	json_decref(o);
}

static void
api_status_tells_who_keeps_a_folder_waiting(void **state)
{
	(void)state;
	fake.folder[0].state = STATUS_RECEIVING;
	expect_limit(NULL, false);
	fake.folder[0].limit = lap;
	expect_limit("laptop", false);
	fake.folder[0].limit = self;
	expect_limit("hub", true);
	fake.folder[0].state = STATUS_IN_SYNC;
	expect_limit(NULL, false);
}

static void
api_status_is_6_when_a_folder_is_halted(void **state)
{
	json_t *o;

	(void)state;
	fake.folder[0].state = STATUS_HALTED;
	fake.folder[0].reason = REASON_DISK_FULL;
	fake.folder[0].conflicts = 1;
	fake.share[0].need.items = 1;
	expect_status(6, "folder.disk-full");
	/* The other folder alone is well, and so is its part of the truth. */
	o = get("/v1/status", "subject=photos");
	assert_int_equal(exit_of(o), 0);
	assert_int_equal(json_array_size(json_object_get(o, "folders")), 1);
	json_decref(o);
	o = get("/v1/status", "subject=lap");
	assert_int_equal(exit_of(o), 6);
	assert_int_equal(json_array_size(json_object_get(o, "devices")), 1);
	json_decref(o);
}

static void
api_paused_folder_is_no_problem(void **state)
{
	(void)state;
	fake.folder[0].state = STATUS_PAUSED;
	fake.folder[0].reason = REASON_PAUSED;
	fake.share[0].need.items = 9;
	expect_status(0, NULL);
}

static void
api_pending_is_shown_with_what_is_not_utf8_escaped(void **state)
{
	json_t *o;

	(void)state;
	fake.pending = (struct net_pending_status){ .id = phone,
		.name = "bad \xff name",
		.address = "10.0.0.1:5" };
	fake.offered = (struct api_pending_folder){ .id = S("new"),
		.label = S("New"),
		.device = lap };
	o = get("/v1/pending", "");
	assert_non_null(strstr(
	    text(item(json_object_get(o, "pending"), "devices", 0), "name"),
	    "\\xff"));
	assert_string_equal(
	    text(item(json_object_get(o, "pending"), "folders", 0), "device"),
	    "laptop");
	json_decref(o);
}

static void
api_explain_finds_the_folder_of_a_path(void **state)
{
	json_t *o;

	(void)state;
	fake.explain.reason = REASON_RECEIVING;
	o = get("/v1/explain", "path=/data/docs//sub/./x");
	assert_string_equal(fake.last_command, "explain docs sub/x");
	assert_int_equal(exit_of(o), 4);
	assert_string_equal(text(json_object_get(o, "reason"), "code"),
	    "receiving");
	json_decref(o);
	o = get("/v1/explain", "folder=Papers&path=x");
	assert_string_equal(fake.last_command, "explain docs x");
	json_decref(o);
	fake.explain_rc = ERR_BUSY;
	fake.folder[0].reason = REASON_ROOT_MISSING;
	o = get("/v1/explain", "folder=docs&path=x");
	assert_int_equal(exit_of(o), 6);
	json_decref(o);
}

static void
api_ignore_test_names_the_rule(void **state)
{
	json_t *o = get("/v1/ignore-test", "folder=docs&path=a/b.tmp");

	(void)state;
	assert_true(json_is_true(json_object_get(o, "ignored")));
	assert_string_equal(text(json_object_get(o, "rule"), "pattern"),
	    "*.tmp");
	json_decref(o);
	o = get("/v1/ignore-test", "folder=docs&path=a/b");
	assert_true(json_is_null(json_object_get(o, "rule")));
	json_decref(o);
}

static void
api_ignores_lists_the_rules_of_all_files(void **state)
{
	json_t *o = get("/v1/ignores", "folder=docs");

	(void)state;
	assert_int_equal(json_array_size(json_object_get(o, "list")), 2);
	assert_string_equal(text(item(o, "list", 1), "file"), "more");
	assert_int_equal(
	    json_integer_value(json_object_get(item(o, "list", 1), "line")), 7);
	assert_string_equal(text(item(o, "list", 1), "pattern"), "!keep");
	json_decref(o);
	o = get("/v1/ignores", "folder=photos");
	assert_true(json_is_null(json_object_get(o, "list")));
	json_decref(o);
}

static void
api_plan_gives_page_after_page(void **state)
{
	json_t *o = get("/v1/plan", "folder=docs");
	const json_t *e = item(o, "entries", 0);

	(void)state;
	assert_string_equal(text(e, "path"), "a");
	assert_string_equal(text(e, "action"), "delete");
	assert_true(json_is_true(json_object_get(e, "held")));
	assert_string_equal(text(e, "reason"), "mass-change");
	assert_string_equal(text(o, "next"), "a");
	json_decref(o);
	o = get("/v1/plan", "folder=docs&after=a&limit=1");
	e = item(o, "entries", 0);
	assert_string_equal(text(e, "type"), "directory");
	assert_true(json_is_false(json_object_get(e, "held")));
	assert_true(json_is_null(json_object_get(o, "next")));
	json_decref(o);
	o = get("/v1/plan", "folder=docs&held=1");
	assert_true(json_is_null(json_object_get(o, "next")));
	json_decref(o);
}

static void
api_conflicts_bear_times_that_are_none(void **state)
{
	json_t *o = get("/v1/conflicts", "");

	(void)state;
	assert_int_equal(json_array_size(json_object_get(o, "conflicts")), 1);
	assert_true(
	    json_is_null(json_object_get(item(o, "conflicts", 0), "modified")));
	json_decref(o);
}

static void
api_netcheck_tells_what_is_known(void **state)
{
	struct api_answer a;
	const json_t *v4, *v6, *relays, *relay;

	(void)state;
	a = call("POST", "/v1/netcheck/run", "", true);
	assert_int_equal(fake.checks, 1);
	json_decref(a.body);
	a = call("GET", "/v1/netcheck", "", true);
	assert_int_equal(a.status, 200);
	assert_int_equal(fake.checks, 1);
	v4 = json_object_get(a.body, "ipv4");
	v6 = json_object_get(a.body, "ipv6");
	assert_true(json_is_true(json_object_get(a.body, "udp")));
	assert_string_equal(json_string_value(json_object_get(v4, "mapping")),
	    "address-and-port-dependent");
	assert_true(json_is_true(json_object_get(v4, "varies")));
	assert_true(json_is_false(json_object_get(v4, "hairpin")));
	assert_true(json_real_value(json_object_get(v4, "rtt_ms")) == 12.5);
	assert_true(json_is_null(json_object_get(v6, "mapped")));
	assert_true(json_is_null(json_object_get(v6, "mapping")));
	assert_int_equal(json_array_size(json_object_get(a.body, "servers")),
	    2);
	relays = json_object_get(a.body, "relays");
	assert_int_equal(json_array_size(relays), 2);
	relay = json_array_get(relays, 0);
	assert_true(json_is_true(json_object_get(relay, "waits")));
	assert_string_equal(json_string_value(json_array_get(
				json_object_get(relay, "used_by"), 0)),
	    "laptop");
	relay = json_array_get(relays, 1);
	assert_true(json_is_false(json_object_get(relay, "waits")));
	assert_int_equal(json_array_size(json_object_get(relay, "used_by")), 0);
	assert_true(json_is_array(json_object_get(a.body, "coordinators")));
	assert_string_equal(
	    json_string_value(json_object_get(
		json_array_get(json_object_get(a.body, "portmap"), 0),
		"address")),
	    "203.0.113.5:1001");
	assert_int_equal(
	    json_integer_value(json_object_get(
		json_object_get(a.body, "attempts"), "hard-nat-both")),
	    4);
	json_decref(a.body);
}

static void
api_actions_reach_the_daemon(void **state)
{
	static const struct {
		const char *path, *args, *command;
	} acts[] = {
		{ "/v1/folders/docs/scan", "", "0 docs " },
		{ "/v1/folders/Pap/scan", "path=sub/x", "0 docs sub/x" },
		{ "/v1/folders/photos/revert", "", "2 photos " },
		{ "/v1/folders/docs/pause", "", "folder docs pause" },
		{ "/v1/folders/docs/resume", "", "folder docs resume" },
		{ "/v1/devices/phone/pause", "", "device phone pause" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		struct api_answer a =
		    call("POST", acts[i].path, acts[i].args, true);

		assert_int_equal(a.status, 200);
		assert_string_equal(fake.last_command, acts[i].command);
		json_decref(a.body);
	}
}

static void
api_failures_have_a_code_a_reason_and_an_exit_code(void **state)
{
	static const struct {
		const char *method, *path, *args;
		int status, exit_code;
	} bad[] = {
		{ "GET", "/v1/nonsense", "", 404, 9 },
		{ "GET", "/", "", 404, 9 },
		{ "GET", "/v1/folders/docs/scan", "", 405, 2 },
		{ "DELETE", "/v1/status", "", 405, 2 },
		{ "POST", "/v1/status", "", 405, 2 },
		{ "POST", "/v1/folders//scan", "", 404, 9 },
		{ "POST", "/v1/folders/nobody/scan", "", 404, 9 },
		{ "POST", "/v1/folders/docs/scan", "path=../x", 400, 2 },
		{ "POST", "/v1/folders/docs/revert", "", 409, 8 },
		{ "POST", "/v1/folders/docs/override", "", 409, 8 },
		{ "GET", "/v1/status", "subject=nobody", 404, 9 },
		{ "GET", "/v1/explain", "path=/elsewhere/x", 404, 9 },
		{ "GET", "/v1/explain", "path=relative", 400, 2 },
		{ "GET", "/v1/explain", "path=/data/docs", 400, 2 },
		{ "GET", "/v1/explain", "", 400, 2 },
		{ "GET", "/v1/ignore-test", "folder=docs&path=a//b", 400, 2 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct api_answer a =
		    call(bad[i].method, bad[i].path, bad[i].args, true);

		if (a.status != bad[i].status)
			fail_msg("%s %s?%s: %d", bad[i].method, bad[i].path,
			    bad[i].args, a.status);
		assert_int_equal(exit_of(a.body), bad[i].exit_code);
		assert_string_not_equal(text(a.body, "code"), "(none)");
		assert_string_not_equal(text(a.body, "reason"), "(none)");
		assert_true(json_is_array(json_object_get(a.body, "next")));
		json_decref(a.body);
	}
}

static void
api_reload_tells_mistakes(void **state)
{
	struct api_answer a = call("POST", "/v1/reload", "", true);

	(void)state;
	assert_int_equal(a.status, 200);
	json_decref(a.body);
	fake.reload_rc = ERR_INVALID;
	a = call("POST", "/v1/reload", "", true);
	assert_int_equal(a.status, 409);
	assert_string_equal(text(a.body, "code"), "config-refused");
	assert_int_equal(json_integer_value(json_object_get(a.body, "exit")),
	    8);
	assert_string_equal(text(a.body, "reason"), "config:3: bad");
	json_decref(a.body);
}

static void
put_event(enum events_type type, const char *path)
{
	const struct events_item e = { .type = type,
		.path = slice_str(path),
		.wall_ns = INT64_C(1700000000) * (int64_t)CLOCK_S };

	events_put(events, &e);
}

static void
api_events_wait_for_what_is_new(void **state)
{
	struct api_answer a;
	json_t *o;

	(void)state;
	a = call("GET", "/v1/events", "since=0&timeout=30", false);
	assert_true(a.wait);
	assert_int_equal(a.wait_s, 30);
	a = call("GET", "/v1/events", "since=0&timeout=99999", false);
	assert_int_equal(a.wait_s, API_WAIT_MAX_S);
	put_event(EVENTS_LOCAL_CHANGE, "a");
	put_event(EVENTS_SCAN, "");
	put_event(EVENTS_LOCAL_CHANGE, "b");
	a = call("GET", "/v1/events", "since=0&timeout=30", false);
	assert_false(a.wait);
	assert_int_equal(json_array_size(json_object_get(a.body, "events")), 3);
	json_decref(a.body);
	o = get("/v1/events", "since=1&type=change.local,conflict");
	assert_int_equal(json_array_size(json_object_get(o, "events")), 1);
	assert_string_equal(text(item(o, "events", 0), "path"), "b");
	assert_int_equal(json_integer_value(json_object_get(o, "last")), 3);
	json_decref(o);
	o = get("/v1/events", "since=0&type=change");
	assert_int_equal(json_array_size(json_object_get(o, "events")), 2);
	json_decref(o);
	/* It would be waited for in vain. */
	a = call("GET", "/v1/events", "type=conflict,chang&timeout=30", false);
	assert_false(a.wait);
	assert_int_equal(a.status, 400);
	assert_non_null(strstr(text(a.body, "reason"), "\"chang\""));
	json_decref(a.body);
	/* Numbers of another life of the daemon: begin anew. */
	o = get("/v1/events", "since=999");
	assert_int_equal(json_array_size(json_object_get(o, "events")), 3);
	json_decref(o);
	o = get("/v1/events", "from=1800000000000000000");
	assert_int_equal(json_array_size(json_object_get(o, "events")), 0);
	json_decref(o);
}

static void
api_events_forget_the_oldest(void **state)
{
	const struct events_item *e;
	uint64_t since = 0;
	size_t n = 0;

	(void)state;
	for (unsigned i = 0; i < EVENTS_KEPT + 10; i++)
		put_event(EVENTS_LOCAL_CHANGE, "x");
	while ((e = events_next(events, since)) != NULL) {
		assert_true(e->id > since);
		since = e->id;
		n++;
	}
	assert_int_equal(n, EVENTS_KEPT);
	assert_int_equal(since, EVENTS_KEPT + 10);
}

static void
expect_failure(const char *method, const char *path, const char *args,
    int status, int code)
{
	struct api_answer a = call(method, path, args, true);

	assert_int_equal(a.status, status);
	assert_int_equal(exit_of(a.body), code);
	json_decref(a.body);
}

static void
api_ping_waits_for_the_answer(void **state)
{
	struct api_answer a;
	json_t *o;

	(void)state;
	fake.peer[0].features = FEATURE_ECHO;
	fake.peer[0].transport = "quic";
	a = call("POST", "/v1/devices/lap/ping", "", false);
	assert_int_equal(a.status, 200);
	assert_string_equal(text(a.body, "by"), "echo");
	assert_true(json_is_null(json_object_get(a.body, "rtt_us")));
	json_decref(a.body);
	a = call("GET", "/v1/ping", "device=laptop&number=1&timeout=5", false);
	assert_true(a.wait);
	assert_null(a.body);
	fake.peer[0].echo.answered = 1;
	fake.peer[0].echo.rtt_ns = 31 * CLOCK_MS;
	a = call("GET", "/v1/ping", "device=laptop&number=1&timeout=5", false);
	assert_false(a.wait);
	assert_int_equal(json_integer_value(json_object_get(a.body, "rtt_us")),
	    31000);
	assert_string_equal(text(json_object_get(a.body, "path"), "transport"),
	    "quic");
	json_decref(a.body);
	/* No answer in time. */
	o = get("/v1/ping", "device=laptop&number=2&timeout=5");
	assert_true(json_is_null(json_object_get(o, "rtt_us")));
	json_decref(o);
}

static void
api_ping_says_what_it_measured(void **state)
{
	json_t *o;

	(void)state;
	o = get("/v1/ping", "device=laptop&number=1&timeout=5");
	assert_string_equal(text(o, "by"), "transport");
	assert_int_equal(json_integer_value(json_object_get(o, "rtt_us")), 400);
	assert_true(
	    json_is_null(json_object_get(json_object_get(o, "path"), "why")));
	json_decref(o);
	fake.peer[0].relayed = true;
	fake.peer[0].detour = MESH_DIRECT_FAILED;
	o = get("/v1/ping", "device=laptop&number=1&timeout=5");
	assert_string_equal(text(o, "by"), "opening");
	assert_string_equal(text(json_object_get(o, "path"), "why"),
	    "direct-failed");
	assert_string_equal(text(json_object_get(o, "path"), "reason"),
	    "direct-failed");
	assert_string_equal(text(json_object_get(o, "path"), "via"),
	    "192.168.1.23:22000");
	json_decref(o);
	expect_failure("POST", "/v1/devices/phone/ping", "", 409, 11);
	expect_failure("GET", "/v1/ping", "device=phone", 409, 11);
	expect_failure("POST", "/v1/devices/nobody/ping", "", 404, 9);
}

static void
api_forward_is_asked_for_and_waited_for(void **state)
{
	struct api_answer a;
	json_t *o;

	(void)state;
	a = call("POST", "/v1/devices/laptop/forward", "port=22", true);
	assert_int_equal(a.status, 200);
	assert_int_equal(json_integer_value(json_object_get(a.body, "number")),
	    7);
	json_decref(a.body);
	assert_int_equal(fake.fate.port, 22);
	a = call("GET", "/v1/forward/stream", "number=7", false);
	assert_true(a.wait);
	fake.fate.state = FORWARD_UV_READY;
	a = call("GET", "/v1/forward/stream", "number=7", false);
	assert_null(a.body);
	assert_int_equal(a.stream, 7);
	fake.fate.state = FORWARD_UV_JOINED;
	o = get("/v1/forward", "number=7");
	assert_string_equal(text(o, "state"), "joined");
	assert_int_equal(exit_of(o), 0);
	json_decref(o);
	expect_failure("GET", "/v1/forward/stream", "number=7", 409, 8);
	expect_failure("GET", "/v1/forward/stream", "number=8", 404, 9);
}

static void
api_forward_says_why_there_is_none(void **state)
{
	static const struct {
		uint32_t code;
		const char *name;
		int exit;
	} why[] = {
		{ FORWARD_CLOSED, "forward-closed", 1 },
		{ FORWARD_DENIED, "forward-denied", 8 },
		{ FORWARD_NOBODY, "forward-nobody", 9 },
		{ FORWARD_BUSY, "forward-busy", 1 },
		{ FORWARD_FAILED, "forward-failed", 1 },
		{ 77, "forward-failed", 1 },
	};
	json_t *o;

	(void)state;
	expect_failure("POST", "/v1/devices/laptop/forward", "", 400, 2);
	expect_failure("POST", "/v1/devices/laptop/forward", "port=65536", 400,
	    2);
	expect_failure("POST", "/v1/devices/nobody/forward", "port=22", 404, 9);
	fake.forward_rc = ERR_CLOSED;
	expect_failure("POST", "/v1/devices/phone/forward", "port=22", 409, 11);
	fake.forward_rc = ERR_UNSUPPORTED;
	expect_failure("POST", "/v1/devices/phone/forward", "port=22", 409, 8);
	fake.forward_rc = ERR_LIMIT;
	expect_failure("POST", "/v1/devices/phone/forward", "port=22", 409, 1);
	fake.fate.state = FORWARD_UV_ASKED;
	expect_failure("GET", "/v1/forward/stream", "number=7", 409, 7);
	fake.fate.state = FORWARD_UV_BROKEN;
	for (size_t i = 0; i < sizeof(why) / sizeof(why[0]); i++) {
		fake.fate.code = why[i].code;
		o = get("/v1/forward", "number=7");
		assert_string_equal(text(o, "state"), "broken");
		assert_string_equal(text(json_object_get(o, "reason"), "code"),
		    why[i].name);
		json_decref(o);
		expect_failure("GET", "/v1/forward/stream", "number=7", 409,
		    why[i].exit);
	}
	fake.fate.lost = true;
	expect_failure("GET", "/v1/forward/stream", "number=7", 409, 11);
}

static void
expect_whois(const char *args, const char *device)
{
	json_t *o = get("/v1/whois", args);

	assert_int_equal(json_array_size(json_object_get(o, "devices")), 1);
	assert_string_equal(text(item(o, "devices", 0), "device"), device);
	json_decref(o);
}

static void
api_whois_knows_flows_names_and_ids(void **state)
{
	char id[DEVID_TEXT_LEN + 1], args[128];

	(void)state;
	expect_whois("who=192.168.1.23:22000", "laptop");
	expect_whois("who=192.168.1.23", "laptop");
	expect_whois("who=phone", "phone");
	devid_text(&phone, id);
	snprintf(args, sizeof(args), "who=%s", id);
	expect_whois(args, "phone");
	fake.peer[0].address = "[fd00::17]:22000";
	expect_whois("who=[fd00::17]:22000", "laptop");
	expect_whois("who=fd00:0::17", "laptop");
	expect_failure("GET", "/v1/whois", "who=[fd00::17]:22001", 404, 9);
	expect_failure("GET", "/v1/whois", "who=192.168.1.23", 404, 9);
	expect_failure("GET", "/v1/whois", "who=nobody", 404, 9);
	expect_failure("GET", "/v1/whois", "", 404, 9);
}

static void
api_knows_a_device_by_its_private_address(void **state)
{
	json_t *o = get("/v1/status", "device=phone");
	json_t *own = json_object_get(item(o, "devices", 0), "private");
	char args[128], way[64];

	(void)state;
	snprintf(args, sizeof(args), "who=%s", text(own, "v4"));
	expect_whois(args, "phone");
	snprintf(args, sizeof(args), "who=%s", text(own, "v6"));
	expect_whois(args, "phone");
	/* A way in use comes before a name. */
	snprintf(way, sizeof(way), "%s:22000", text(own, "v4"));
	fake.peer[0].address = way;
	snprintf(args, sizeof(args), "who=%s", text(own, "v4"));
	expect_whois(args, "laptop");
	json_decref(o);
}

static void
api_status_tells_each_way_and_how_it_went(void **state)
{
	static const struct net_address_status way[] = {
		{ .address = "tcp://192.168.1.23:22000",
		    .in_use = true,
		    .error = "" },
		{ .address = "quic://192.0.2.7:22000",
		    .found = true,
		    .source = NET_LOOKED_UP,
		    .failure = FAILURE_TIMEOUT,
		    .error = "no answer within 20 s" },
	};
	const json_t *device;
	json_t *o;

	(void)state;
	fake.peer[0].way = way;
	fake.peer[0].way_count = 2;
	fake.counts.direct = 2;
	fake.counts.failed[FAILURE_TIMEOUT] = 3;
	o = get("/v1/status", "device=laptop");
	device = item(o, "devices", 0);
	assert_true(json_is_true(
	    json_object_get(item(device, "addresses", 0), "in_use")));
	assert_true(json_is_null(
	    json_object_get(item(device, "addresses", 0), "reason")));
	assert_string_equal(text(item(device, "addresses", 1), "source"),
	    "looked-up");
	assert_string_equal(text(item(device, "addresses", 1), "reason"),
	    "dial-timeout");
	assert_int_equal(
	    json_integer_value(json_object_get(
		json_object_get(json_object_get(o, "connections"), "failed"),
		"dial-timeout")),
	    3);
	json_decref(o);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(api_devices_say_why_they_are_known),
		T(api_status_is_0_when_all_is_in_sync),
		T(api_status_is_4_while_work_is_under_way),
		T(api_status_is_4_while_a_peer_lacks_something),
		T(api_status_is_5_when_a_person_should_look),
		T(api_status_tells_of_a_disk_that_is_nearly_full),
		T(api_status_tells_of_what_no_other_device_has),
		T(api_status_tells_of_a_device_that_stays_relayed),
		T(api_status_tells_who_keeps_a_folder_waiting),
		T(api_status_is_6_when_a_folder_is_halted),
		T(api_paused_folder_is_no_problem),
		T(api_pending_is_shown_with_what_is_not_utf8_escaped),
		T(api_explain_finds_the_folder_of_a_path),
		T(api_ignore_test_names_the_rule),
		T(api_ignores_lists_the_rules_of_all_files),
		T(api_plan_gives_page_after_page),
		T(api_conflicts_bear_times_that_are_none),
		T(api_netcheck_tells_what_is_known),
		T(api_actions_reach_the_daemon),
		T(api_failures_have_a_code_a_reason_and_an_exit_code),
		T(api_reload_tells_mistakes),
		T(api_events_wait_for_what_is_new),
		T(api_events_forget_the_oldest),
		T(api_ping_waits_for_the_answer),
		T(api_ping_says_what_it_measured),
		T(api_forward_is_asked_for_and_waited_for),
		T(api_forward_says_why_there_is_none),
		T(api_whois_knows_flows_names_and_ids),
		T(api_knows_a_device_by_its_private_address),
		T(api_status_tells_each_way_and_how_it_went),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
