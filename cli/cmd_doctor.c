/* The examination as a whole, and how it is told.  See cmd_doctor.h. */
#include "cli/cmd_doctor.h"

#include <stdarg.h>
#include <string.h>

#include "cli/print.h"
#include "engine/base/mem.h"

void
cmd_doctor_add(struct cmd_doctor *d, enum doctor_state state, const char *check,
    const char *subject, const char *todo, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	*VEC_ADD(&d->line) = (struct doctor_line){ .state = state,
		.check = check,
		.subject = subject,
		.what = arena_str(&d->call->ar, slice_str(text)),
		.todo = todo };
}

/* --- The daemon and its configuration --- */

static void
cmd_doctor_daemon(struct cmd_doctor *d)
{
	struct err err = { 0 };
	const char *version;

	if (!client_is_up(d->call->client)) {
		cmd_doctor_add(d, DOCTOR_WARN, "daemon", "",
		    "systemctl --user start syncd, or run syncd",
		    "syncd is not running; what only it knows is left out");
		return;
	}
	if (cmd_try(d->call, "GET", "/v1/doctor", 10, &d->self, &err) !=
		CMD_OK ||
	    cmd_try(d->call, "GET", "/v1/status", 30, &d->status, &err) !=
		CMD_OK) {
		cmd_doctor_add(d, DOCTOR_FAIL, "daemon", "",
		    "look into its log: journalctl --user -u syncd",
		    "syncd does not answer: %s", err.text);
		return;
	}
	version = cmd_text(d->self, "version");
	if (strcmp(version, HOLDFAST_VERSION) != 0)
		cmd_doctor_add(d, DOCTOR_WARN, "daemon", "",
		    "restart syncd: the newer one is installed already",
		    "syncd is %s, syncctl is " HOLDFAST_VERSION, version);
	else
		cmd_doctor_add(d, DOCTOR_OK, "daemon", "", NULL,
		    "syncd " HOLDFAST_VERSION ", pid %lld",
		    (long long)cmd_int(d->self, "pid"));
}

static void
cmd_doctor_config(struct cmd_doctor *d)
{
	const struct config_mistake *list = NULL;
	struct err err = { 0 };
	size_t count = 0;

	d->has_cfg = config_file_load(&d->call->home, &d->call->ar, &d->cfg,
			 &list, &count, &err) == 0;
	if (d->has_cfg)
		cmd_doctor_add(d, DOCTOR_OK, "config", "", NULL,
		    "%s; folders: %u, devices: %u", d->call->home.config,
		    d->cfg.setup.folder_count, d->cfg.setup.device_count);
	else if (count > 0)
		cmd_doctor_add(d, DOCTOR_FAIL, "config", "",
		    "syncctl config check", "%.*s%s", SLICE_FMT(list[0].text),
		    count > 1 ? ", and more" : "");
	else
		cmd_doctor_add(d, DOCTOR_FAIL, "config", "",
		    "syncctl config check", "%s", err.text);
}

/* What status has to say is not said twice. */
static void
cmd_doctor_problems(struct cmd_doctor *d)
{
	const size_t count =
	    json_array_size(json_object_get(d->status, "problems"));

	if (d->status == NULL)
		return;
	if (count == 0)
		cmd_doctor_add(d, DOCTOR_OK, "problems", "", NULL, "none");
	else
		cmd_doctor_add(d,
		    cmd_int(d->status, "exit") == CMD_STOPPED ? DOCTOR_FAIL
							      : DOCTOR_WARN,
		    "problems", "", "syncctl status -x",
		    "%zu, which status tells", count);
}

/* --- Telling --- */

static const char *
cmd_doctor_state(enum doctor_state state)
{
	static const char *const name[] = { "ok", "warn", "fail" };

	return name[state];
}

static enum doctor_state
cmd_doctor_worst(const struct cmd_doctor *d)
{
	enum doctor_state worst = DOCTOR_OK;

	for (size_t i = 0; i < d->line.len; i++)
		if (d->line.item[i].state > worst)
			worst = d->line.item[i].state;
	return worst;
}

static void
cmd_doctor_print(const struct cmd_doctor *d, enum doctor_state state)
{
	static const enum print_style style[] = { PRINT_GOOD, PRINT_WARN,
		PRINT_BAD };
	struct arena *ar = &d->call->ar;

	for (size_t i = 0; i < d->line.len; i++) {
		const struct doctor_line *l = &d->line.item[i];

		if (l->state != state)
			continue;
		print_styled(stdout, style[state],
		    arena_printf(ar, "%-5s", cmd_doctor_state(state)));
		printf("%-12s ", l->check);
		if (l->subject[0] != '\0')
			printf("%s: ", print_safe(ar, l->subject));
		printf("%s\n", print_safe(ar, l->what));
		if (l->todo != NULL)
			printf("%18sDo: %s\n", "", print_safe(ar, l->todo));
	}
}

static json_t *
cmd_doctor_json(const struct cmd_doctor *d, int code)
{
	json_t *o = cmd_object();
	json_t *list = json_array();

	json_object_set_new(o, "exit", json_integer(code));
	json_object_set_new(o, "daemon", json_boolean(d->self != NULL));
	for (size_t i = 0; i < d->line.len; i++) {
		const struct doctor_line *l = &d->line.item[i];
		json_t *line = json_object();

		json_object_set_new(line, "check", json_string(l->check));
		json_object_set_new(line, "subject",
		    json_string(print_safe(&d->call->ar, l->subject)));
		json_object_set_new(line, "state",
		    json_string(cmd_doctor_state(l->state)));
		json_object_set_new(line, "what",
		    json_string(print_safe(&d->call->ar, l->what)));
		json_object_set_new(line, "do",
		    l->todo == NULL ? json_null() : json_string(l->todo));
		json_array_append_new(list, line);
	}
	json_object_set_new(o, "checks", list);
	return o;
}

int
cmd_doctor(struct cmd_call *call)
{
	static const int codes[] = { CMD_OK, CMD_ATTENTION, CMD_STOPPED };
	struct cmd_doctor d = { .call = call };
	enum doctor_state worst;
	int code;

	cmd_doctor_daemon(&d);
	cmd_doctor_config(&d);
	cmd_doctor_home(&d);
	cmd_doctor_keys(&d);
	cmd_doctor_sandbox(&d);
	cmd_doctor_clock(&d);
	cmd_doctor_watches(&d);
	cmd_doctor_descriptors(&d);
	cmd_doctor_ports(&d);
	cmd_doctor_folders(&d);
	cmd_doctor_syncthing(&d);
	cmd_doctor_problems(&d);
	worst = cmd_doctor_worst(&d);
	code = codes[worst];
	if (options_has(&call->opt, "json")) {
		cmd_print_json(cmd_doctor_json(&d, code), code);
	} else if (!options_has(&call->opt, "q")) {
		/* The worst is nearest the prompt. */
		for (int s = DOCTOR_OK; s <= (int)DOCTOR_FAIL; s++)
			if (s > (int)DOCTOR_OK || !options_has(&call->opt, "x"))
				cmd_doctor_print(&d, (enum doctor_state)s);
		if (worst == DOCTOR_OK && options_has(&call->opt, "x"))
			puts("Nothing is wrong.");
	}
	VEC_FINI(&d.line);
	json_decref(d.self);
	json_decref(d.status);
	return code;
}
