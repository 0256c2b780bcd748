/* The command line: words, names, tables, and commands without a daemon. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cmd.h"
#include "cli/names.h"
#include "cli/print.h"
#include "cli/syncthing.h"

#define ID_A "P56IOI7-MZJNU2Y-IQGDREY-DM2MGTI-MGL3BXN-PQ6W5BM-TBBZ4TJ-XZWICQ2"

static char home[64];
static char out[65536]; /* what the last command printed, both ways */

static int
setup(void **state)
{
	(void)state;
	snprintf(home, sizeof(home), "./cmd-test-XXXXXX");
	return mkdtemp(home) == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	char cmd[128];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -rf %s", home);
	return system(cmd);
}

/* Run "syncctl --home HOME" with words split at '|'; its exit code. */
static int
run(const char *words)
{
	const char *argv[32] = { "syncctl", "--home", home };
	char copy[1024], file[96];
	const int saved_out = dup(1), saved_err = dup(2);
	int argc = 3, fd, code;
	ssize_t n;

	snprintf(copy, sizeof(copy), "%s", words);
	for (char *w = strtok(copy, "|"); w != NULL; w = strtok(NULL, "|"))
		argv[argc++] = w;
	snprintf(file, sizeof(file), "%s/out", home);
	fd = open(file, O_RDWR | O_CREAT | O_TRUNC, 0600);
	fflush(stdout);
	dup2(fd, 1);
	dup2(fd, 2);
	code = cmd_main(argc, argv);
	fflush(stdout);
	dup2(saved_out, 1);
	dup2(saved_err, 2);
	close(saved_out);
	close(saved_err);
	n = pread(fd, out, sizeof(out) - 1, 0);
	out[n < 0 ? 0 : n] = '\0';
	close(fd);
	return code;
}

static void
must(const char *words)
{
	const int code = run(words);

	if (code != CMD_OK)
		fail_msg("%s: %d: %s", words, code, out);
}

static void
has(const char *text)
{
	if (strstr(out, text) == NULL)
		fail_msg("\"%s\" not in \"%s\"", text, out);
}

static void
cmd_wrong_words_are_2(void **state)
{
	static const char *const wrong[] = { "", "nonsense", "device",
		"device|nonsense", "device|add", "device|add|AAAA",
		"folder|add|/tmp/x", "status|--nonsense", "status|a|b|c",
		"wait|--timeout|soon", "wait|--timeout", "explain", "config",
		"config|set|mesh.listen", "config|set|mesh.lisen|x",
		"config|set|mesh.announce|maybe", "config|get|nonsense",
		"config|set|mesh.announce|true|false", "completion|tcsh",
		"conflict", "id|surplus", "id|--qr=yes", "help|nonsense",
		"folder|add|/tmp/x|--id|x|--id|y" };

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (run(wrong[i]) != CMD_USAGE)
			fail_msg("%s: %s", wrong[i], out);
		assert_true(out[0] != '\0');
	}
}

static void
cmd_without_a_daemon_is_3(void **state)
{
	static const char *const asks[] = { "status", "status|-q", "wait",
		"explain|/tmp", "events", "conflict|list", "folder|scan|x",
		"events|--follow", "status|--watch" };

	(void)state;
	for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++)
		if (run(asks[i]) != CMD_NO_DAEMON)
			fail_msg("%s: %s", asks[i], out);
}

static void
cmd_unknown_names_are_9(void **state)
{
	static const char *const asks[] = { "device|show|x", "device|remove|x",
		"device|rename|x|y", "device|pause|x", "folder|show|x",
		"folder|remove|x|--yes", "folder|share|x|y",
		"folder|ignore|list|x", "config|get|folder.x.path",
		"config|check|/nowhere", "import-syncthing|/nowhere" };

	(void)state;
	for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++)
		if (run(asks[i]) != CMD_NOT_FOUND)
			fail_msg("%s: %s", asks[i], out);
}

static void
cmd_failures_say_what_to_type_next(void **state)
{
	(void)state;
	assert_int_equal(run("device|show|x"), CMD_NOT_FOUND);
	assert_string_equal(out,
	    "syncctl: no device \"x\"\n  next:  syncctl device list\n");
	assert_int_equal(run("status"), CMD_NO_DAEMON);
	has("  next:  syncd --home /");
	assert_int_equal(run("status|-q"), CMD_NO_DAEMON);
	assert_string_equal(out, "");
	assert_int_equal(run("wait|-q"), CMD_NO_DAEMON);
	assert_string_equal(out, "");
}

static void
cmd_failures_are_documents_when_json_is_asked_for(void **state)
{
	static const struct {
		const char *words, *code;
		int exit;
	} asks[] = {
		{ "device|show|x|--json", "not-found", CMD_NOT_FOUND },
		{ "folder|show|x|--json", "not-found", CMD_NOT_FOUND },
		{ "config|get|folder.x.path|--json", "not-found",
		    CMD_NOT_FOUND },
		{ "config|get|nonsense|--json", "usage", CMD_USAGE },
		{ "status|--json", "no-daemon", CMD_NO_DAEMON },
		{ "wait|--json", "no-daemon", CMD_NO_DAEMON },
		{ "explain|/tmp|--json", "no-daemon", CMD_NO_DAEMON },
		{ "events|--follow|--jsonl", "no-daemon", CMD_NO_DAEMON },
		{ "ping|x|--json", "no-daemon", CMD_NO_DAEMON },
		{ "plan|x|--jsonl", "no-daemon", CMD_NO_DAEMON },
		{ "coord|audit|--json", "not-found", CMD_NOT_FOUND },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
		const int code = run(asks[i].words);
		const char *at;
		json_t *o;

		if (code != asks[i].exit)
			fail_msg("%s: %d: %s", asks[i].words, code, out);
		/* Both ways go into one file here. */
		at = strchr(out, '{');
		assert_non_null(at);
		o = json_loads(at, JSON_DISABLE_EOF_CHECK, NULL);
		assert_string_equal(cmd_text(o, "schema"), "syncctl/1");
		assert_string_equal(cmd_text(o, "code"), asks[i].code);
		assert_int_equal(cmd_int(o, "exit"), asks[i].exit);
		assert_true(cmd_text(o, "reason")[0] != '\0');
		assert_true(json_array_size(json_object_get(o, "next")) > 0);
		/* One document, not two. */
		assert_null(strstr(strstr(at, "schema") + 1, "\"schema\""));
		json_decref(o);
	}
}

static void
cmd_table_is_sound(void **state)
{
	(void)state;
	for (const struct cmd *a = cmd_table(); a->name != NULL; a++) {
		char words[128] = "help";
		const char *rest = a->name;

		assert_true(a->min <= a->max);
		assert_non_null(a->run);
		for (const struct cmd *b = cmd_table(); b != a; b++)
			assert_string_not_equal(a->name, b->name);
		/* Its help is found by its name. */
		while (*rest != '\0') {
			const size_t n = strcspn(rest, " ");

			snprintf(words + strlen(words),
			    sizeof(words) - strlen(words), "|%.*s", (int)n,
			    rest);
			rest += rest[n] == '\0' ? n : n + 1;
		}
		must(words);
		has(a->help);
	}
}

static void
cmd_identity_is_made_once(void **state)
{
	char first[128];

	(void)state;
	must("id");
	snprintf(first, sizeof(first), "%.100s", out);
	assert_int_equal(strlen(first), 64);
	must("id");
	assert_string_equal(out, first);
	must("id|--qr");
	has("\u2588");
}

static void
cmd_config_is_changed_value_by_value(void **state)
{
	(void)state;
	must("config|set|mesh.listen|tcp://:1|tcp://:2");
	must("config|get|mesh.listen");
	assert_string_equal(out, "tcp://:1\ntcp://:2\n");
	must("config|set|--add|mesh.listen|tcp://:3");
	must("config|unset|mesh.listen|tcp://:1");
	must("config|get|mesh.listen");
	assert_string_equal(out, "tcp://:2\ntcp://:3\n");
	must("config|set|mesh.announce_port|7");
	must("config|list");
	has("mesh.announce-port=7\n");
	must("config|unset|mesh.announcePort");
	must("config|get|mesh.announce-port");
	assert_string_equal(out, "21027\n");
	must("config|list|--all");
	has("# folder.ID.path=");
	must("config|check");
	assert_int_equal(run("config|set|folder.x.mode|sendonly"), CMD_REFUSED);
	has("folder.x.path: missing");
	assert_int_equal(run("config|get|folder.x.mode"), CMD_NOT_FOUND);
}

static void
cmd_devices_and_folders_without_a_daemon(void **state)
{
	char words[256];

	(void)state;
	must("device|add|" ID_A "|--name|lap top|--addr|tcp://h:1|"
	     "--addr=dynamic|--introducer");
	assert_int_equal(run("device|add|" ID_A "|--name|other"), CMD_REFUSED);
	has("known already, as \"lap top\"");
	has("next:  syncctl device show 'lap top'");
	snprintf(words, sizeof(words),
	    "folder|add|%s/a/b|--id|docs|--name|Papers|--share|lap", home);
	must(words);
	snprintf(words, sizeof(words), "folder|add|%s/a|--id|outer", home);
	assert_int_equal(run(words), CMD_REFUSED);
	has("folders must lie apart");
	snprintf(words, sizeof(words), "folder|add|%s/c|--id|docs", home);
	assert_int_equal(run(words), CMD_REFUSED);
	has("there is a folder \"docs\" already");
	snprintf(words, sizeof(words), "%s/c", home);
	assert_int_equal(access(words, F_OK), -1);
	must("folder|show|Pap");
	has("lap top");
	must("folder|unshare|docs|lap");
	must("folder|share|docs|P56IOI7");
	must("device|rename|lap|note.book");
	must("folder|list");
	has("note.book");
	must("device|pause|note");
	must("device|list|--json");
	has("\"paused\": true");
	must("device|resume|note");
	must("device|list|--columns|folders,device");
	assert_string_equal(out, "FOLDERS  DEVICE\ndocs     note.book\n");
	assert_int_equal(run("folder|list|--columns|id,shared-with"),
	    CMD_USAGE);
	has("there are FOLDER, STATE, MODE, SHARED WITH");
	must("folder|list|--columns=folder,shared-with");
	assert_string_equal(out, "FOLDER  SHARED WITH\ndocs    note.book\n");
	must("folder|pause|docs");
	must("folder|show|docs");
	has("paused");
	must("folder|list|-q");
	assert_string_equal(out, "docs\n");
	must("device|remove|note|--dry-run");
	has("note.book would be trusted no longer; 1 folder is shared");
	must("folder|remove|docs|--dry-run");
	has("docs would be synced no longer; the files stay in /");
	must("device|show|note");
	must("device|remove|note");
	must("folder|show|docs");
	assert_null(strstr(out, "note.book"));
	must("folder|remove|docs|--yes");
	must("config|check");
	snprintf(words, sizeof(words), "%s/a/b", home);
	assert_int_equal(access(words, F_OK), 0);
}

static void
cmd_completion_is_for_two_shells(void **state)
{
	(void)state;
	must("completion|bash");
	has("complete -F _syncctl syncctl");
	must("completion|zsh");
	has("#compdef syncctl");
}

/* What may stand at the end of these words; '' is an empty one. */
static void
completes(const char *typed, const char *want)
{
	char words[256];

	snprintf(words, sizeof(words), "completion|words|--|%s", typed);
	must(words);
	if (strcmp(out, want) != 0)
		fail_msg("%s: \"%s\" instead of \"%s\"", typed, out, want);
}

static void
cmd_completion_knows_commands_options_and_values(void **state)
{
	(void)state;
	completes("st", "words\nstatus\n");
	completes("device|re", "words\nrename\nremove\nresume\nrevoke\n");
	completes("conflict|''", "words\nlist\n");
	completes("folder|ignore|''", "words\nlist\ntest\n");
	completes("help|folder|ig", "words\nignore\n");
	completes("-", "words\n--home\n--help\n--version\n");
	completes("nonsense|''", "words\n");
	completes("folder|add|--sh", "words\n--share\n");
	completes("folder|add|/x|--mode|se", "words\nsendreceive\nsendonly\n");
	completes("folder|add|--mode=r", "words\n--mode=receiveonly\n");
	/* As bash takes it apart. */
	completes("folder|add|--mode|=|r", "words\nreceiveonly\n");
	completes("folder|add|--mode|=",
	    "words\nsendreceive\nsendonly\nreceiveonly\n");
	completes("folder|add|--id|''", "words\n");
	completes("device|add|ID|--addr|q", "part\nquic://\n");
	completes("completion|''", "words\nbash\nzsh\n");
	completes("domain|allow|a|b|d", "words\ndrop\ndiag\n");
	completes("config|set|log.level|w", "words\nwarn\n");
	completes("config|set|mesh.announce|''", "words\ntrue\nfalse\n");
	completes("events|--type|change.local,change.r",
	    "words\nchange.local,change.remote\n");
	completes("explain|''", "files\n");
	completes("--home|''", "files\n");
	completes("import-syncthing|--dry-run|''", "files\n");
}

static void
cmd_completion_knows_names(void **state)
{
	char words[256];

	(void)state;
	must("device|add|" ID_A "|--name|lap top");
	snprintf(words, sizeof(words), "folder|add|%s/a|--id|$(docs)", home);
	must(words);
	completes("status|''", "words\n$(docs)\nlap top\n");
	completes("wait|--with|''", "words\nlap top\n");
	completes("wait|--with|lap\\ t", "words\nlap top\n");
	completes("wait|--with|'lap t", "words\nlap top\n");
	completes("wait|--with|lap top|''", "words\n$(docs)\n");
	completes("wait|x|y|''", "words\n$(docs)\n");
	completes("folder|add|/x|--share|''", "words\nlap top\n");
	completes("folder|share|''", "words\n$(docs)\n");
	completes("folder|share|x|''", "words\nlap top\n");
	completes("folder|share|x|y|''", "words\n");
	completes("device|show|''", "words\nlap top\n");
	completes("trash|list|x|''", "words\n");
	completes("folder|ignore|test|''", "files\n$(docs)\n");
	completes("config|get|device.lap top.pa",
	    "words\ndevice.lap top.paused\n");
	completes("config|set|folder.x.share|''", "words\nlap top\n");
	completes("--home|/nowhere|status|''", "words\n");
	snprintf(words, sizeof(words), "--home=%s|device|show|''", home);
	completes(words, "words\nlap top\n");
	/* A configuration that is broken has no names, and is no failure. */
	snprintf(words, sizeof(words), "echo nonsense >>%s/config", home);
	assert_int_equal(system(words), 0);
	completes("status|''", "words\n");
}

static void
cmd_help_tells_options(void **state)
{
	(void)state;
	must("device|add|--help");
	has("--addr ADDRESS");
	has("quic://HOST:PORT, relay://");
	must("help|events");
	has("[--since TIME]");
	assert_int_equal(run("folder|share|x"), CMD_USAGE);
	has("DEVICE is missing");
	assert_int_equal(run("frob"), CMD_USAGE);
	assert_string_equal(out,
	    "syncctl: no command \"frob\"\n  next:  syncctl help\n");
	assert_int_equal(run("stauts"), CMD_USAGE);
	has("\"stauts\"\n  status  ");
	assert_int_equal(run("folders|list"), CMD_USAGE);
	has("  folder list  ");
	assert_int_equal(run("folder|ignore|frob"), CMD_USAGE);
	has("no command folder ignore frob\n  folder ignore list");
	assert_int_equal(run("device|add|" ID_A "|--name|x|--addr|h"),
	    CMD_USAGE);
	has("must be tcp://HOST:PORT, quic://HOST:PORT, relay://HOST:PORT/");
	assert_int_equal(run("config|get|node.name"), CMD_NOT_FOUND);
	has("node.name is not set");
	assert_int_equal(run("version|surplus"), CMD_USAGE);
	has("\"surplus\" is one word too many");
	for (const struct cmd *c = cmd_table(); c->name != NULL; c++) {
		const char *spec = c->options;
		struct slice name;
		bool takes_value;

		while (cmd_option_next(&spec, &name, &takes_value)) {
			const struct cmd_option *o = cmd_option_find(c, name);

			if (o == NULL)
				fail_msg("%s: nothing is said of --%.*s",
				    c->name, SLICE_FMT(name));
			assert_int_equal(takes_value, o->value != NULL);
		}
	}
}

static void
options_take_values_in_both_ways(void **state)
{
	static const char *const argv[] = { "a", "--name=x", "--addr", "1",
		"-q", "--addr=2", "--", "--b" };
	struct arena ar = { 0 };
	struct options o;
	size_t n;
	const char **addr;

	(void)state;
	assert_int_equal(
	    options_parse(&o, "name=,addr=*,q", 8, argv, &ar, NULL), 0);
	assert_string_equal(options_value(&o, "name"), "x");
	addr = options_values(&o, "addr", &n, &ar);
	assert_int_equal(n, 2);
	assert_string_equal(addr[1], "2");
	assert_true(options_has(&o, "q"));
	assert_int_equal(o.arg_count, 2);
	assert_string_equal(o.arg[1], "--b");
	assert_int_equal(options_parse(&o, "quiet", 1,
			     (const char *const[]){ "--qu" }, &ar, NULL),
	    ERR_INVALID);
	arena_fini(&ar);
}

static void
names_are_found_by_their_beginning(void **state)
{
	static const struct names_item list[] = {
		{ { (const uint8_t *)"docs", 4 },
		    { (const uint8_t *)"Papers", 6 } },
		{ { (const uint8_t *)"docs2", 5 },
		    { (const uint8_t *)"Pictures", 8 } },
		{ { (const uint8_t *)"music", 5 },
		    { (const uint8_t *)"Pictures", 8 } },
	};
	static const struct {
		const char *text;
		int rc;
		size_t at;
	} want[] = {
		{ "docs", 0, 0 },
		{ "docs2", 0, 1 },
		{ "doc", ERR_INVALID, 0 },
		{ "Pa", 0, 0 },
		{ "Pictures", ERR_INVALID, 0 },
		{ "m", 0, 2 },
		{ "x", ERR_NOT_FOUND, 0 },
		{ "", ERR_NOT_FOUND, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		size_t at = 0;

		assert_int_equal(names_find(list, 3, "folder",
				     slice_str(want[i].text), &at, NULL),
		    want[i].rc);
		if (want[i].rc == 0)
			assert_int_equal(at, want[i].at);
	}
}

static void
print_says_sizes_and_ages_as_people_do(void **state)
{
	struct arena ar = { 0 };

	(void)state;
	assert_string_equal(print_size(&ar, 0), "0 B");
	assert_string_equal(print_size(&ar, 1023), "1023 B");
	assert_string_equal(print_size(&ar, 1024), "1.0 KiB");
	assert_string_equal(print_size(&ar, 312 * 1024 * 1024), "312 MiB");
	assert_string_equal(print_size(&ar, INT64_C(1319413953331)), "1.2 TiB");
	assert_string_equal(print_count(&ar, 41205), "41 205");
	assert_string_equal(print_count(&ar, -1234567), "-1 234 567");
	assert_string_equal(print_age(&ar, 0, 1000), "never");
	assert_string_equal(print_age(&ar, 1000, 1001), "now");
	assert_string_equal(print_age(&ar, 1000, 1130), "2 min ago");
	assert_string_equal(print_age(&ar, 1000, 1000 + 90000), "yesterday");
	assert_string_equal(print_age(&ar, 1000, 1000 + 21 * 86400),
	    "3 weeks ago");
	assert_string_equal(print_rtt(&ar, 400), "0.4 ms");
	assert_int_equal(print_width("\xc3\xbc\xe2\x82\xac"), 2);
	arena_fini(&ar);
}

static void
syncthing_config_is_read_and_its_defaults_are_not(void **state)
{
	static const char xml[] =
	    "<configuration version=\"37\">"
	    "<folder id=\"f\" label=\"L\" path=\"~/x\" type=\"receiveonly\" "
	    "rescanIntervalS=\"60\" fsWatcherEnabled=\"false\">"
	    "<device id=\"" ID_A "\"><encryptionPassword>pw"
	    "</encryptionPassword></device>"
	    "<versioning type=\"trashcan\"><fsPath></fsPath>"
	    "<param key=\"cleanoutDays\" val=\"90\"/></versioning>"
	    "<paused>true</paused><maxConflicts>-1</maxConflicts></folder>"
	    "<device id=\"" ID_A "\" name=\"a &amp; b\" introducer=\"true\">"
	    "<address>tcp://x:1</address><address>dynamic</address>"
	    "<paused>true</paused></device>"
	    "<options><listenAddress>default</listenAddress>"
	    "<localAnnounceEnabled>false</localAnnounceEnabled></options>"
	    "<defaults><folder id=\"no\"/><device id=\"\"/></defaults>"
	    "</configuration>";
	static const char *const bad[] = { "", "<configuration", "text",
		"<other/>",
		"<configuration><device id='AAAA'/></configuration>",
		"<!DOCTYPE x><configuration/>" };
	struct arena ar = { 0 };
	struct syncthing st;
	struct err err = { 0 };

	(void)state;
	if (syncthing_parse(&st, slice_str(xml), &ar, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(st.device_count, 1);
	assert_string_equal(st.device[0].name, "a & b");
	assert_int_equal(st.device[0].address_count, 2);
	assert_true(st.device[0].paused && st.device[0].introducer);
	assert_int_equal(st.folder_count, 1);
	assert_string_equal(st.folder[0].mode, "receiveonly");
	assert_int_equal(st.folder[0].rescan_s, 60);
	assert_true(st.folder[0].paused && st.folder[0].unwatched);
	assert_true(st.folder[0].share[0].encrypted);
	assert_string_equal(st.folder[0].versioning, "trashcan");
	assert_int_equal(st.folder[0].cleanout_days, 90);
	assert_false(st.folder[0].versions_elsewhere);
	assert_true(st.no_announce);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(
		    syncthing_parse(&st, slice_str(bad[i]), &ar, &err),
		    ERR_INVALID);
	arena_fini(&ar);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(cmd_wrong_words_are_2),
		T(cmd_without_a_daemon_is_3),
		T(cmd_unknown_names_are_9),
		T(cmd_failures_say_what_to_type_next),
		T(cmd_failures_are_documents_when_json_is_asked_for),
		T(cmd_table_is_sound),
		T(cmd_identity_is_made_once),
		T(cmd_config_is_changed_value_by_value),
		T(cmd_devices_and_folders_without_a_daemon),
		T(cmd_completion_is_for_two_shells),
		T(cmd_completion_knows_commands_options_and_values),
		T(cmd_completion_knows_names),
		T(cmd_help_tells_options),
		cmocka_unit_test(options_take_values_in_both_ways),
		cmocka_unit_test(names_are_found_by_their_beginning),
		cmocka_unit_test(print_says_sizes_and_ages_as_people_do),
		cmocka_unit_test(
		    syncthing_config_is_read_and_its_defaults_are_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
