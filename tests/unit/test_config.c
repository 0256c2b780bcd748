/* The configuration: every mistake is told with its place and a way out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/config.h"
#include "engine/base/clock.h"

#define ID_A "P56IOI7-MZJNU2Y-IQGDREY-DM2MGTI-MGL3BXN-PQ6W5BM-TBBZ4TJ-XZWICQ2"
/* Without check characters: accepted too. */
#define ID_B "BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static const struct config_world world = {
	.file = { (const uint8_t *)"config", 6 },
	.user_home = { (const uint8_t *)"/home/ann", 9 },
	.host = { (const uint8_t *)"hub", 3 },
	.state_dir = { (const uint8_t *)"/home/ann/.local/state/holdfast", 31 },
	.config_dir = { (const uint8_t *)"/home/ann/.config/holdfast", 26 },
};

/* Items from "key=value" lines; the line of an item is that of the text. */
static int
load_in(const struct config_world *in, const char *text, struct arena *ar,
    struct config *cfg, const struct config_mistake **list, size_t *count,
    struct err *err)
{
	struct config_item item[64];
	size_t n = 0;
	uint32_t line = 0;

	while (*text != '\0') {
		const size_t len = strcspn(text, "\n");
		const size_t eq = strcspn(text, "=");

		line++;
		if (eq < len) {
			item[n].key = slice_of(text, eq);
			item[n].value = slice_of(text + eq + 1, len - eq - 1);
			item[n++].line = line;
		}
		text += text[len] == '\0' ? len : len + 1;
	}
	return config_load(item, n, in, ar, cfg, list, count, err);
}

static int
load(const char *text, struct arena *ar, struct config *cfg,
    const struct config_mistake **list, size_t *count, struct err *err)
{
	return load_in(&world, text, ar, cfg, list, count, err);
}

static void
config_empty_file_has_sensible_defaults(void **state)
{
	struct arena ar = { 0 };
	struct config cfg;

	(void)state;
	assert_int_equal(load("", &ar, &cfg, NULL, NULL, NULL), 0);
	assert_string_equal((const char *)cfg.setup.name.ptr, "hub");
	assert_int_equal(cfg.log_level, LOG_INFO);
	assert_int_equal(cfg.mesh.listen_count, 2);
	assert_string_equal((const char *)cfg.mesh.listen[0].ptr,
	    "tcp://:22000");
	assert_string_equal((const char *)cfg.mesh.listen[1].ptr,
	    "quic://:22000");
	assert_true(cfg.mesh.announce);
	assert_int_equal(cfg.mesh.announce_port, 21027);
	assert_int_equal(cfg.setup.device_count, 0);
	assert_int_equal(cfg.setup.folder_count, 0);
	arena_fini(&ar);
}

static void
config_whole_file_becomes_a_setup(void **state)
{
	struct arena ar = { 0 };
	struct config cfg;
	struct err err = { 0 };
	const struct setup_folder *f;
	const struct setup_device *d;

	(void)state;
	if (load("node.name=attic\n"
		 "log.level=debug\n"
		 "mesh.listen=tcp://127.0.0.1:22101\n"
		 "mesh.listen=tcp://127.0.0.1:22102\n"
		 "mesh.announce=no\n"
		 "device.my.phone.id=" ID_A "\n"
		 "device.my.phone.address=tcp://10.0.0.7:22000\n"
		 "device.my.phone.address=dynamic\n"
		 "device.my.phone.introducer=on\n"
		 "device.my.phone.compression=always\n"
		 "device.lap.id=" ID_B "\n"
		 "device.lap.max-silence=30d\n"
		 "device.lap.max-relayed=2h\n"
		 "device.lap.introduced-by=my.phone\n"
		 "folder.docs.path=~/Sync//docs/./\n"
		 "folder.docs.share=lap\n"
		 "folder.docs.share=my.phone\n"
		 "folder.docs.mode=receiveonly\n"
		 "folder.docs.rescan=90m\n"
		 "folder.docs.watch=false\n"
		 "folder.docs.low-space=20G\n"
		 "folder.docs.single-copy=0\n",
		&ar, &cfg, NULL, NULL, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal((const char *)cfg.setup.name.ptr, "attic");
	assert_int_equal(cfg.log_level, LOG_DEBUG);
	assert_int_equal(cfg.mesh.listen_count, 2);
	assert_false(cfg.mesh.announce);
	assert_int_equal(cfg.setup.device_count, 2);
	d = &cfg.setup.device[0];
	assert_string_equal((const char *)d->name.ptr, "my.phone");
	assert_int_equal(d->address_count, 2);
	assert_true(d->introducer);
	assert_int_equal(cfg.device[0].compression, COMPRESSION_ALWAYS);
	assert_true(cfg.device[1].max_silence_ns == 30 * 24 * CLOCK_HOUR);
	assert_true(cfg.device[1].max_relayed_ns == 2 * CLOCK_HOUR);
	assert_true(cfg.device[0].max_relayed_ns == 10 * CLOCK_MIN);
	assert_true(devid_equal(&cfg.setup.device[1].introduced_by, &d->id));
	f = &cfg.setup.folder[0];
	assert_string_equal((const char *)f->path.ptr, "/home/ann/Sync/docs");
	assert_string_equal((const char *)f->label.ptr, "docs");
	assert_int_equal(f->mode, FOLDER_RECEIVE_ONLY);
	assert_int_equal(f->device_count, 2);
	assert_true(devid_equal(&f->device[1], &d->id));
	assert_true(f->rescan_ns == 90 * CLOCK_MIN);
	assert_false(cfg.folder[0].watch);
	assert_true(cfg.folder[0].low_space == UINT64_C(20) << 30);
	assert_false(cfg.folder[0].low_space_default);
	assert_true(cfg.folder[0].single_copy_ns == 0);
	assert_int_equal(config_find_folder(&cfg, SLICE_LIT("docs")), 0);
	assert_int_equal(config_find_device(&cfg, SLICE_LIT("lap")), 1);
	assert_int_equal(config_find_device(&cfg, SLICE_LIT("nobody")), -1);
	arena_fini(&ar);
}

struct bad {
	const char *text;
	const char *wants; /* all of these, separated by '|' */
};

static const struct bad bads[] = {
	{ "nodename=x", "config:1: nodename|no such key" },
	{ "mesh.lisen=tcp://:1", "config:1: mesh.lisen|mesh has: listen, "
				 "scope, announce, announce-port" },
	{ "mesh.x.listen=tcp://:1", "SECTION.OPTION" },
	{ "folder.path=/x", "SECTION.NAME.OPTION" },
	{ "\nmesh.announce=maybe",
	    "config:2: mesh.announce: \"maybe\"|true or false" },
	{ "mesh.announce-port=70000", "\"70000\"|a number from 1 to 65535" },
	{ "mesh.announce-port=12x", "a number from 1 to 65535" },
	{ "mesh.announce-port=99999999999999999999", "from 1 to 65535" },
	{ "mesh.listen=http://x", "config:1: mesh.listen|http" },
	{ "mesh.listen=dynamic", "tcp://HOST:PORT" },
	{ "mesh.announce=true\nmesh.announce=false",
	    "config:2: mesh.announce|set twice, first on line 1" },
	{ "log.level=loud", "error|warn|info|debug" },
	{ "node.name=", "a text of 1 to 64 bytes" },
	{ "node.name=a\tb", "without control characters" },
	{ "node.name=\xff", "UTF-8" },
	{ "device.a.address=tcp://h:1", "config:1: device.a.id: missing" },
	{ "device.a.id=ABC", "config:1: device.a.id: \"ABC\"" },
	{ "device.a.id=" ID_A "\ndevice.a.address=tcp://:22000",
	    "config:2|must name a host" },
	{ "device.a.id=" ID_A "\ndevice.b.id=" ID_A,
	    "config:2: device.b.id|the same ID as device \"a\"" },
	{ "device.a.id=" ID_A "\ndevice.a.introduced-by=ghost",
	    "config:2: device.a.introduced-by: \"ghost\": no such device" },
	{ "device.a.id=" ID_A "\ndevice.a.forward=0", "from 1 to 65535" },
	{ "device.a.id=" ID_A "\ndevice.a.forward=70000", "from 1 to 65535" },
	{ "device.a.id=" ID_A "\ndevice.a.forward=22\ndevice.a.forward=ssh",
	    "config:3: device.a.forward|from 1 to 65535" },
	{ "folder.d.label=x", "config:1: folder.d.path: missing" },
	{ "folder.d.path=docs", "absolute path" },
	{ "folder.d.path=/a/../b", "\"..\"" },
	{ "folder.d.path=/", "must not be /" },
	{ "folder.d.path=//.//", "must not be /" },
	{ "folder.d.path=/a\nfolder.d.mode=rw",
	    "config:2: folder.d.mode: \"rw\"|"
	    "sendreceive|sendonly|receiveonly" },
	{ "folder.d.path=/a\nfolder.d.share=nobody",
	    "config:2: folder.d.share: \"nobody\": no such device|"
	    "device.nobody.id" },
	{ "folder.d.path=/a\nfolder.d.rescan=soon", "config:2|90s, 10m" },
	{ "folder.d.path=/a\nfolder.d.rescan=200000d", "at most" },
	{ "folder.d.path=/a\nfolder.e.path=/a/b",
	    "config:2: folder.e.path: is inside folder \"d\" (/a)" },
	{ "folder.d.path=/a/b\nfolder.e.path=/a", "holds folder \"d\"" },
	{ "folder.d.path=/a\nfolder.e.path=/a/", "has this directory already" },
	{ "folder.d.path=~", "holds the keys and the index" },
	{ "folder.d.path=~/.local/state/holdfast", "holds the keys" },
	{ "folder.d.path=/home", "holds the keys" },
	{ "folder.d.path=~/.local/state/holdfast/index/x", "inside the index" },
	{ "folder..path=/a", "ID of a folder" },
};

static void
config_mistakes_name_line_key_and_what_is_allowed(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {
		struct arena ar = { 0 };
		struct config cfg;
		struct err err = { 0 };
		const char *want = bads[i].wants;

		if (load(bads[i].text, &ar, &cfg, NULL, NULL, &err) == 0)
			fail_msg("accepted: %s", bads[i].text);
		assert_int_equal(err.code, ERR_INVALID);
		/* "error|warn" is one text of choices, not two wants. */
		if (strstr(err.text, want) == NULL) {
			while (*want != '\0') {
				char part[128] = "";
				const size_t len = strcspn(want, "|");

				memcpy(part, want, len);
				if (strstr(err.text, part) == NULL)
					fail_msg("\"%s\" not in \"%s\"", part,
					    err.text);
				want += want[len] == '\0' ? len : len + 1;
			}
		}
		arena_fini(&ar);
	}
}

static void
config_tells_all_mistakes_at_once(void **state)
{
	struct arena ar = { 0 };
	struct config cfg;
	const struct config_mistake *list;
	size_t count;

	(void)state;
	assert_int_equal(load("nonsense.a=1\n"
			      "mesh.announce=7\n"
			      "folder.d.share=ghost\n",
			     &ar, &cfg, &list, &count, NULL),
	    ERR_INVALID);
	assert_int_equal(count, 4); /* the folder has no path either */
	assert_int_equal(list[0].line, 1);
	assert_int_equal(list[1].line, 2);
	assert_string_equal((const char *)list[1].key.ptr, "mesh.announce");
	arena_fini(&ar);
}

static void
config_folders_beside_each_other_are_fine(void **state)
{
	struct arena ar = { 0 };
	struct config cfg;
	struct err err = { 0 };

	(void)state;
	if (load("folder.a.path=/data/docs\nfolder.b.path=/data/docs2\n"
		 "folder.c.path=~/.local/state/holdfast/Sync\n",
		&ar, &cfg, NULL, NULL, &err) < 0)
		fail_msg("%s", err.text);
	arena_fini(&ar);
}

static void
config_keys_may_be_spelled_in_several_ways(void **state)
{
	static const char *const same[] = {
		"folder.My.Docs.ignore-perms",
		"FOLDER.My.Docs.ignorePerms",
		"folder.My.Docs.ignore_perms",
	};
	struct arena ar = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		struct slice name;
		const struct config_option *opt =
		    config_option(slice_str(same[i]), &name, NULL);

		assert_non_null(opt);
		assert_string_equal(config_key(&ar, opt, name), same[0]);
	}
	arena_fini(&ar);
}

static void
config_reads_durations_with_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {
		{ "0", 0 },
		{ "90", 90 * CLOCK_S },
		{ "250ms", 250 * CLOCK_MS },
		{ "60s", CLOCK_MIN },
		{ "1h30m", 90 * CLOCK_MIN },
		{ "2min", 2 * CLOCK_MIN },
		{ "7d", 7 * 24 * CLOCK_HOUR },
		{ "1w", 7 * 24 * CLOCK_HOUR },
	};
	static const char *const bad[] = { "", "h", "1x", "1h30", "-1s", "1 s",
		"99999999999999999999s", "999999999999d", "s1" };
	uint64_t ns;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(
		    config_parse_duration(slice_str(good[i].text), &ns, NULL),
		    0);
		assert_true(ns == good[i].ns);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(
		    config_parse_duration(slice_str(bad[i]), &ns, NULL),
		    ERR_INVALID);
}

static void
config_every_default_is_a_value_it_would_accept(void **state)
{
	size_t count;
	const struct config_option *opt = config_options(&count);
	struct arena ar = { 0 };

	(void)state;
	for (size_t i = 0; i < count; i++) {
		struct err err = { 0 };
		struct slice rest;

		assert_int_equal(opt[i].id, i);
		assert_true(config_allowed(&ar, &opt[i])[0] != '\0');
		rest =
		    slice_str(opt[i].fallback != NULL ? opt[i].fallback : "");
		while (rest.len > 0) {
			const struct slice word =
			    opt[i].repeats ? config_next_word(&rest) : rest;

			if (config_check_value(&opt[i], word, &err) < 0)
				fail_msg("%s: %s", opt[i].name, err.text);
			if (!opt[i].repeats)
				break;
		}
	}
	arena_fini(&ar);
}

/* --- A domain's members --- */

/* "hub" and "phone" are members; "old" was what the hub was called; "lost" was
 * removed; "foe" may not be talked to. */
static int
load_members(const char *text, struct arena *ar, struct config *cfg,
    struct err *err)
{
	const struct config_member member[] = {
		{ CONFIG_MEMBER, { { 1 } }, SLICE_INIT("hub") },
		{ CONFIG_MEMBER, { { 2 } }, SLICE_INIT("phone") },
		{ CONFIG_DENIED, { { 3 } }, SLICE_INIT("foe") },
		{ CONFIG_FORMER, { { 1 } }, SLICE_INIT("old") },
		{ CONFIG_GONE, { { 0 } }, SLICE_INIT("lost") },
	};
	struct config_world in = world;

	in.member = member;
	in.member_count = sizeof(member) / sizeof(member[0]);
	return load_in(&in, text, ar, cfg, NULL, NULL, err);
}

static const struct setup_device *
device_named(const struct config *cfg, const char *name)
{
	const int32_t i = config_find_device(cfg, slice_str(name));

	return i < 0 ? NULL : &cfg->setup.device[i];
}

static void
config_members_are_devices_without_a_line(void **state)
{
	struct arena ar = { 0 };
	struct config cfg;

	(void)state;
	assert_int_equal(load_members("", &ar, &cfg, NULL), 0);
	assert_int_equal(cfg.setup.device_count, 3);
	assert_int_equal(device_named(&cfg, "hub")->id.b[0], 1);
	assert_int_equal(device_named(&cfg, "hub")->address_count, 1);
	assert_false(device_named(&cfg, "hub")->paused);
	assert_true(cfg.device[0].member && !cfg.device[0].denied);
	assert_true(device_named(&cfg, "foe")->paused);
	assert_true(cfg.device[2].denied);
	arena_fini(&ar);
}

/* A section by hand that names the ID which a member had before. */
static void
config_follows_a_member_to_its_new_id(void **state)
{
	const struct devid first = { { 7 } }, second = { { 8 } };
	char was[2][DEVID_TEXT_LEN + 1], text[400];
	struct config_member member[] = {
		{ CONFIG_MEMBER, { { 1 } }, SLICE_INIT("hub") },
		{ CONFIG_MEMBER, { { 2 } }, SLICE_INIT("phone") },
		{ CONFIG_ROTATED, { { 1 } }, SLICE_EMPTY },
		{ CONFIG_ROTATED, { { 1 } }, SLICE_EMPTY },
	};
	struct config_world in = world;
	struct arena ar = { 0 };
	struct config cfg;
	struct err err = { 0 };

	(void)state;
	devid_text(&first, was[0]);
	devid_text(&second, was[1]);
	member[2].name = slice_str(was[0]);
	member[3].name = slice_str(was[1]);
	in.member = member;
	in.member_count = sizeof(member) / sizeof(member[0]);
	for (int i = 0; i < 2; i++) {
		snprintf(text, sizeof(text),
		    "device.server.id=%s\ndevice.server.introducer=true\n"
		    "folder.f.path=/data\nfolder.f.share=server\n"
		    "folder.f.share=hub\n",
		    was[i]);
		if (load_in(&in, text, &ar, &cfg, NULL, NULL, &err) < 0)
			fail_msg("%s", err.text);
		assert_int_equal(cfg.setup.device_count, 2);
		assert_int_equal(device_named(&cfg, "server")->id.b[0], 1);
		assert_true(device_named(&cfg, "server")->introducer);
		assert_null(device_named(&cfg, "hub"));
		assert_int_equal(cfg.setup.folder[0].device_count, 1);
		assert_int_equal(cfg.setup.folder[0].device[0].b[0], 1);
	}
	assert_int_equal(cfg.setup.former_count, 2);
	assert_int_equal(setup_now(&cfg.setup, &first)->b[0], 1);
	assert_int_equal(setup_now(&cfg.setup, &second)->b[0], 1);
	assert_ptr_equal(setup_now(&cfg.setup, &member[1].id), &member[1].id);
	arena_fini(&ar);
}

static void
config_lines_say_more_about_a_member(void **state)
{
	struct arena ar = { 0 };
	struct config cfg;

	(void)state;
	assert_int_equal(load_members("device.old.paused=true\n"
				      "device.phone.address=tcp://p:1\n"
				      "folder.f.path=/home/ann/f\n"
				      "folder.f.share=phone\n"
				      "folder.f.share=old\n"
				      "folder.f.share=lost\n"
				      "device.lost.paused=true\n",
			     &ar, &cfg, NULL),
	    0);
	assert_int_equal(cfg.setup.device_count, 3);
	/* What was said under the name it had holds under the new one. */
	assert_true(device_named(&cfg, "hub")->paused);
	assert_null(device_named(&cfg, "old"));
	assert_string_equal(
	    (const char *)device_named(&cfg, "phone")->address[0].ptr,
	    "tcp://p:1");
	/* Who was removed is shared with no more, and that is no mistake. */
	assert_int_equal(cfg.setup.folder[0].device_count, 2);
	assert_int_equal(cfg.setup.folder[0].device[0].b[0], 2);
	assert_int_equal(cfg.setup.folder[0].device[1].b[0], 1);
	arena_fini(&ar);
}

static void
config_ports_are_open_to_whom_they_are_given(void **state)
{
	struct arena ar = { 0 };
	struct config cfg;

	(void)state;
	assert_int_equal(load_members("device.phone.forward=22\n"
				      "device.phone.forward=8080\n",
			     &ar, &cfg, NULL),
	    0);
	for (uint32_t i = 0; i < cfg.setup.device_count; i++) {
		const struct config_device *d = &cfg.device[i];

		if (!slice_equal(cfg.setup.device[i].name,
			SLICE_LIT("phone"))) {
			assert_int_equal(d->forward_count, 0);
			continue;
		}
		assert_int_equal(d->forward_count, 2);
		assert_int_equal(d->forward[0], 22);
		assert_int_equal(d->forward[1], 8080);
	}
	arena_fini(&ar);
}

static void
config_the_file_has_the_last_word_on_names(void **state)
{
	struct arena ar = { 0 };
	struct config cfg;
	char id[DEVID_TEXT_LEN + 1], text[256];
	const struct devid hub = { { 1 } };

	(void)state;
	/* Somebody else is called "phone" by hand, and the hub is "mine". */
	devid_text(&hub, id);
	snprintf(text, sizeof(text),
	    "device.phone.id=" ID_A "\n"
	    "device.mine.id=%s\n",
	    id);
	assert_int_equal(load_members(text, &ar, &cfg, NULL), 0);
	assert_int_equal(cfg.setup.device_count, 4);
	assert_int_not_equal(device_named(&cfg, "phone")->id.b[0], 2);
	assert_true(devid_equal(&device_named(&cfg, "mine")->id, &hub));
	assert_null(device_named(&cfg, "hub"));
	for (uint32_t i = 0; i < cfg.setup.device_count; i++)
		if (cfg.setup.device[i].id.b[0] == 2)
			assert_memory_equal(cfg.setup.device[i].name.ptr,
			    "phone-", 6);
	arena_fini(&ar);
}

static void
config_a_name_nobody_ever_had_is_a_mistake_still(void **state)
{
	struct arena ar = { 0 };
	struct config cfg;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(load_members("folder.f.path=/home/ann/f\n"
				      "folder.f.share=phnoe\n",
			     &ar, &cfg, &err),
	    ERR_INVALID);
	assert_non_null(strstr(err.text, "phnoe"));
	assert_int_equal(
	    load_members("device.x.paused=true\n", &ar, &cfg, &err),
	    ERR_INVALID);
	arena_fini(&ar);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_empty_file_has_sensible_defaults),
		cmocka_unit_test(config_whole_file_becomes_a_setup),
		cmocka_unit_test(
		    config_mistakes_name_line_key_and_what_is_allowed),
		cmocka_unit_test(config_tells_all_mistakes_at_once),
		cmocka_unit_test(config_folders_beside_each_other_are_fine),
		cmocka_unit_test(config_keys_may_be_spelled_in_several_ways),
		cmocka_unit_test(config_reads_durations_with_units),
		cmocka_unit_test(
		    config_every_default_is_a_value_it_would_accept),
		cmocka_unit_test(config_members_are_devices_without_a_line),
		cmocka_unit_test(config_follows_a_member_to_its_new_id),
		cmocka_unit_test(config_lines_say_more_about_a_member),
		cmocka_unit_test(config_ports_are_open_to_whom_they_are_given),
		cmocka_unit_test(config_the_file_has_the_last_word_on_names),
		cmocka_unit_test(
		    config_a_name_nobody_ever_had_is_a_mistake_still),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
