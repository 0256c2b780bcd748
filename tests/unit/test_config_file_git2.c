/* The configuration file: read with lines, written without losing anything. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/config_file.h"
#include "cli/config_text.h"

#define ID_A "P56IOI7-MZJNU2Y-IQGDREY-DM2MGTI-MGL3BXN-PQ6W5BM-TBBZ4TJ-XZWICQ2"

struct place {
	char dir[64];
	struct home home;
	struct arena ar;
	struct err err;
};

static int
setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	snprintf(p->dir, sizeof(p->dir), "./config-test-XXXXXX");
	if (mkdtemp(p->dir) == NULL || home_init(&p->home, p->dir, &p->err) < 0)
		return -1;
	*state = p;
	return 0;
}

static int
teardown(void **state)
{
	struct place *p = *state;
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", p->dir);
	(void)!system(cmd);
	home_fini(&p->home);
	arena_fini(&p->ar);
	free(p);
	return 0;
}

static void
put(struct place *p, const char *text)
{
	FILE *f = fopen(p->home.config, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static const char *
got(struct place *p)
{
	static char text[8192];
	FILE *f = fopen(p->home.config, "r");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

#define OK(call)                                                               \
	do {                                                                   \
		if ((call) < 0)                                                \
			fail_msg("%s: %s", #call, p->err.text);                \
	} while (0)

static void
config_file_that_is_missing_has_no_items(void **state)
{
	struct place *p = *state;
	const struct config_item *item;
	size_t count;

	OK(config_file_read(p->home.config, &p->ar, &item, &count, &p->err));
	assert_int_equal(count, 0);
}

static void
config_file_items_know_their_lines(void **state)
{
	struct place *p = *state;
	const struct config_item *item;
	size_t count;

	put(p, "# a comment\n"
	       "[Mesh]\n"
	       "\tListen = tcp://:1 ; here\n"
	       "\tannounce\n"
	       "\n"
	       "[device \"My \\\"Phone\\\".x\"] paused = true\n"
	       "\tid = \"" ID_A "\"\n"
	       "[folder \"d\"]\n"
	       "\tlabel = one \\\n"
	       "   two\n"
	       "\tpath = /a#not a comment? it is\n"
	       "[mesh]\n"
	       "\tlisten = tcp://:2\n");
	OK(config_file_read(p->home.config, &p->ar, &item, &count, &p->err));
	assert_int_equal(count, 7);
	assert_string_equal((const char *)item[0].key.ptr, "mesh.listen");
	assert_int_equal(item[0].line, 3);
	assert_string_equal((const char *)item[0].value.ptr, "tcp://:1");
	assert_int_equal(item[1].line, 4);
	assert_string_equal((const char *)item[1].value.ptr, "true");
	assert_string_equal((const char *)item[2].key.ptr,
	    "device.My \"Phone\".x.paused");
	assert_int_equal(item[2].line, 6);
	assert_int_equal(item[3].line, 7);
	assert_int_equal(item[4].line, 9);
	assert_string_equal((const char *)item[4].value.ptr, "one    two");
	assert_int_equal(item[5].line, 11);
	assert_string_equal((const char *)item[5].value.ptr, "/a");
	assert_int_equal(item[6].line, 13);
	assert_string_equal((const char *)item[6].value.ptr, "tcp://:2");
}

static void
config_file_that_is_no_config_names_the_line(void **state)
{
	static const struct {
		const char *text, *wants;
	} bad[] = {
		{ "[mesh]\n\tlisten = a\n= x\n", "config:3: neither" },
		{ "[mesh\n", "config:1: neither" },
		{ "[mesh]\n\tlisten_to = x\n", "config" },
		{ "[include]\n\tpath = /etc/passwd\n",
		    "config:1: includes are not supported" },
		{ "[includeIf \"x\"]\n\tpath = /etc/passwd\n", "config:1:" },
		{ "listen = tcp://:1\n", "config" },
		{ "[mesh]\n\tlisten = \"open\n", "config" },
	};
	struct place *p = *state;
	struct config cfg;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put(p, bad[i].text);
		assert_int_equal(config_file_load(&p->home, &p->ar, &cfg, NULL,
				     NULL, &p->err),
		    ERR_INVALID);
		if (strstr(p->err.text, bad[i].wants) == NULL)
			fail_msg("\"%s\" not in \"%s\"", bad[i].wants,
			    p->err.text);
	}
}

static void
config_file_edits_keep_comments_and_mode(void **state)
{
	struct place *p = *state;
	struct config_file *cf;
	const struct slice two[] = { SLICE_LIT("tcp://:3"),
		SLICE_LIT("tcp://:4") };
	const struct slice name = SLICE_LIT("attic \"x\" # y");
	struct stat st;

	put(p, "# mine\n[node]\n\t# its name\n\tname = hub ; nice\n"
	       "[mesh]\n\tlisten = tcp://:1\n\tlisten = tcp://:2\n");
	chmod(p->home.config, 0640);
	OK(config_file_edit(&cf, &p->home, &p->err));
	OK(config_file_set(cf, "node.name", &name, 1, &p->err));
	OK(config_file_set(cf, "mesh.listen", two, 2, &p->err));
	OK(config_file_add(cf, "mesh.listen", SLICE_LIT("tcp://:5"), &p->err));
	OK(config_file_add(cf, "mesh.listen", SLICE_LIT("tcp://:5"), &p->err));
	OK(config_file_take(cf, "mesh.listen", SLICE_LIT("tcp://:3"), &p->err));
	assert_int_equal(
	    config_file_take(cf, "mesh.listen", SLICE_LIT("tcp://:9"), &p->err),
	    ERR_NOT_FOUND);
	OK(config_file_save(cf, &p->ar, NULL, NULL, &p->err));
	assert_non_null(strstr(got(p), "# mine\n"));
	assert_non_null(strstr(got(p), "\t# its name\n"));
	assert_non_null(strstr(got(p), "tcp://:4"));
	assert_non_null(strstr(got(p), "tcp://:5"));
	assert_null(strstr(got(p), "tcp://:1"));
	assert_null(strstr(got(p), "tcp://:3"));
	assert_int_equal(stat(p->home.config, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	{
		struct config cfg;

		OK(config_file_load(&p->home, &p->ar, &cfg, NULL, NULL,
		    &p->err));
		assert_string_equal((const char *)cfg.setup.name.ptr,
		    "attic \"x\" # y");
		assert_int_equal(cfg.mesh.listen_count, 2);
	}
}

static void
config_file_makes_sections_with_any_name(void **state)
{
	static const char *const names[] = { "plain", "with space", "a.b.c",
		"quote\"s", "back\\slash", "Gr\xc3\xbc\xc3\x9f" };
	struct place *p = *state;
	struct config_file *cf;
	struct config cfg;

	OK(config_file_edit(&cf, &p->home, &p->err));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char key[64], path[64];
		struct slice value;

		snprintf(key, sizeof(key), "folder.%s.path", names[i]);
		snprintf(path, sizeof(path), "/nowhere/%zu", i);
		value = slice_str(path);
		OK(config_file_set(cf, key, &value, 1, &p->err));
	}
	OK(config_file_save(cf, &p->ar, NULL, NULL, &p->err));
	OK(config_file_load(&p->home, &p->ar, &cfg, NULL, NULL, &p->err));
	assert_int_equal(cfg.setup.folder_count, 6);
	for (size_t i = 0; i < 6; i++)
		assert_string_equal((const char *)cfg.setup.folder[i].id.ptr,
		    names[i]);
	/* And each of them can go again. */
	OK(config_file_edit(&cf, &p->home, &p->err));
	for (size_t i = 0; i < 5; i++)
		OK(config_file_remove(cf, "folder", slice_str(names[i]),
		    &p->err));
	OK(config_file_rename(cf, "folder", slice_str(names[5]),
	    SLICE_LIT("la\\st \"one\""), &p->err));
	OK(config_file_save(cf, &p->ar, NULL, NULL, &p->err));
	OK(config_file_load(&p->home, &p->ar, &cfg, NULL, NULL, &p->err));
	assert_int_equal(cfg.setup.folder_count, 1);
	assert_string_equal((const char *)cfg.setup.folder[0].id.ptr,
	    "la\\st \"one\"");
}

static void
config_file_refuses_an_edit_that_would_break_it(void **state)
{
	struct place *p = *state;
	struct config_file *cf;
	const struct slice rel = SLICE_LIT("not/absolute");
	const struct config_mistake *list;
	size_t count;

	put(p, "[node]\n\tname = hub\n");
	OK(config_file_edit(&cf, &p->home, &p->err));
	OK(config_file_set(cf, "folder.d.path", &rel, 1, &p->err));
	assert_int_equal(config_file_save(cf, &p->ar, &list, &count, &p->err),
	    ERR_INVALID);
	assert_int_equal(count, 1);
	assert_string_equal(got(p), "[node]\n\tname = hub\n");
	assert_null(strstr(p->err.text, "draft"));
}

static void
config_file_tries_an_edit_without_a_trace(void **state)
{
	const struct slice good = SLICE_LIT("debug"), bad = SLICE_LIT("loud");
	struct place *p = *state;
	const struct config_item *item;
	struct config_file *cf;
	struct config cfg;
	size_t count;

	put(p, "[node]\n\tname = hub\n");
	OK(config_file_try(&cf, &p->home, &p->err));
	OK(config_file_set(cf, "log.level", &good, 1, &p->err));
	OK(config_file_items(cf, &p->ar, &item, &count, &p->err));
	assert_int_equal(count, 2);
	OK(config_file_check(cf, &p->ar, NULL, NULL, &p->err));
	OK(config_file_set(cf, "log.level", &bad, 1, &p->err));
	assert_int_equal(config_file_check(cf, &p->ar, NULL, NULL, &p->err),
	    ERR_INVALID);
	config_file_drop(cf);
	assert_string_equal(got(p), "[node]\n\tname = hub\n");
	/* The file is all there is: no lock, no draft. */
	assert_int_equal(unlink(p->home.config), 0);
	assert_int_equal(rmdir(p->dir), 0);
	/* It needs no home, and makes none. */
	OK(config_file_try(&cf, &p->home, &p->err));
	config_file_drop(cf);
	assert_int_equal(access(p->dir, F_OK), -1);
	OK(config_file_load(&p->home, &p->ar, &cfg, NULL, NULL, &p->err));
}

static void
config_file_with_mistakes_can_be_mended_one_by_one(void **state)
{
	struct place *p = *state;
	struct config_file *cf;

	put(p, "[node]\n\tfoo = 1\n\tbar = 2\n");
	OK(config_file_edit(&cf, &p->home, &p->err));
	OK(config_file_set(cf, "node.foo", NULL, 0, &p->err));
	OK(config_file_save(cf, &p->ar, NULL, NULL, &p->err));
	assert_string_equal(got(p), "[node]\n\tbar = 2\n");
}

static void
config_file_finds_folders_that_are_one_by_links(void **state)
{
	struct place *p = *state;
	struct config cfg;
	char text[512], real[256];

	snprintf(real, sizeof(real), "%s/x/sub", p->home.state_dir);
	snprintf(text, sizeof(text), "%s/x", p->home.state_dir);
	assert_int_equal(mkdir(text, 0700), 0);
	assert_int_equal(mkdir(real, 0700), 0);
	snprintf(text, sizeof(text), "%s/y", p->home.state_dir);
	assert_int_equal(symlink("x/sub", text), 0);
	snprintf(text, sizeof(text),
	    "[folder \"a\"]\n\tpath = %s/x\n[folder \"b\"]\n\tpath = %s/y\n",
	    p->home.state_dir, p->home.state_dir);
	put(p, text);
	assert_int_equal(
	    config_file_load(&p->home, &p->ar, &cfg, NULL, NULL, &p->err),
	    ERR_INVALID);
	assert_non_null(strstr(p->err.text, "config:4: folder.b.path"));
	assert_non_null(strstr(p->err.text, "folder \"a\""));
}

static void
config_file_waits_for_another_writer_but_not_for_ever(void **state)
{
	struct place *p = *state;
	struct config_file *cf;
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%s/config.lock", p->home.config_dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(config_file_edit(&cf, &p->home, &p->err), ERR_BUSY);
	close(fd);
	OK(config_file_edit(&cf, &p->home, &p->err));
	config_file_drop(cf);
}

static void
config_file_gets_over_an_editor_that_was_killed(void **state)
{
	const struct slice name = SLICE_LIT("new");
	static const char *const left[] = { "config.draft",
		"config.draft.lock" };
	struct place *p = *state;
	struct config_file *cf;
	char path[300];
	int fd;

	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", p->home.config_dir,
		    left[i]);
		fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
		assert_true(fd >= 0);
		close(fd);
	}
	OK(config_file_edit(&cf, &p->home, &p->err));
	OK(config_file_set(cf, "node.name", &name, 1, &p->err));
	OK(config_file_save(cf, &p->ar, NULL, NULL, &p->err));
}

static void
config_text_remove_keeps_comments_of_the_next_section(void **state)
{
	static const char text[] =
	    "# head\n\n[device \"a\"]\n\tid = x\n\t# inside\n\tpaused\n"
	    "\n# about b\n[device \"b\"] # so\n\tid = y\n";
	struct buf out = { 0 };
	struct arena ar = { 0 };

	(void)state;
	config_text_remove(slice_str(text), SLICE_LIT("device"), SLICE_LIT("a"),
	    &out, &ar);
	buf_put_u8(&out, 0);
	assert_string_equal((char *)out.ptr,
	    "# head\n\n# about b\n[device \"b\"] # so\n\tid = y\n");
	buf_clear(&out);
	config_text_rename(slice_str(text), SLICE_LIT("DEVICE"), SLICE_LIT("b"),
	    SLICE_LIT("c"), &out, &ar);
	buf_put_u8(&out, 0);
	assert_non_null(strstr((char *)out.ptr, "[DEVICE \"c\"] # so\n"));
	buf_fini(&out);
	arena_fini(&ar);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(config_file_that_is_missing_has_no_items),
		T(config_file_items_know_their_lines),
		T(config_file_that_is_no_config_names_the_line),
		T(config_file_edits_keep_comments_and_mode),
		T(config_file_makes_sections_with_any_name),
		T(config_file_refuses_an_edit_that_would_break_it),
		T(config_file_tries_an_edit_without_a_trace),
		T(config_file_with_mistakes_can_be_mended_one_by_one),
		T(config_file_finds_folders_that_are_one_by_links),
		T(config_file_waits_for_another_writer_but_not_for_ever),
		T(config_file_gets_over_an_editor_that_was_killed),
		T(config_text_remove_keeps_comments_of_the_next_section),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
