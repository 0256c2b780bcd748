/*
 * The owner's key and its successor; see syncd_domain.h.
 *
 * A key is replaced in an order that survives a power cut at any point: the new
 * one is in `owner.next`, flushed; an OWNERS entry that names it instead of the
 * old one is in the log, flushed; `owner.next` takes the name `owner.key`.  A
 * cut before the entry leaves the old key, which still counts; one after it
 * leaves both, and the next start looks in the log which of them does.
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "cli/domain_file.h"
#include "cli/syncd_domain.h"

int
syncd_keys_make(struct syncd *sd, const char *file, struct sign_secret *out,
    struct err *err)
{
	char text[DOMAIN_KEY_TEXT_MAX];
	struct buf b = { 0 };
	int rc;

	if (getrandom(out->b, sizeof(out->b), 0) != (ssize_t)sizeof(out->b))
		return err_sys(err, errno, "random numbers");
	domain_record_key_text(out, text);
	buf_printf(&b, "%s\n", text);
	rc = domain_file_put(&sd->home, file, buf_slice(&b), err);
	sign_wipe(text, sizeof(text));
	sign_wipe(b.ptr, b.len);
	buf_fini(&b);
	return rc;
}

static int
syncd_keys_read(struct syncd *sd, const char *name, struct sign_secret *out,
    bool *has, struct err *err)
{
	struct buf file = { 0 };
	int rc = domain_file_read(&sd->home, name, &file, err);

	if (rc == 0)
		rc = domain_record_key(out, buf_slice(&file), err);
	*has = rc == 0;
	if (file.len > 0)
		sign_wipe(file.ptr, file.len);
	buf_fini(&file);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int
syncd_keys_open(struct syncd *sd, struct err *err)
{
	struct syncd_domain *d = sd->domain;
	int rc = syncd_keys_read(sd, DOMAIN_FILE_OWNER, &d->owner,
	    &d->has_owner, err);

	if (rc == 0)
		rc = syncd_keys_read(sd, DOMAIN_FILE_OWNER_NEXT, &d->next,
		    &d->has_next, err);
	return rc;
}

void
syncd_keys_forget(struct syncd *sd)
{
	struct syncd_domain *d = sd->domain;

	sign_wipe(&d->owner, sizeof(d->owner));
	sign_wipe(&d->next, sizeof(d->next));
	d->has_owner = d->has_next = false;
}

/* Which of the owners has this key; `count` when none has. */
static size_t
syncd_keys_place(const struct syncd *sd, const struct sign_secret *key,
    size_t *count)
{
	const struct sign_public *owner;
	struct sign_public public;
	uint32_t need;
	size_t i = 0;

	*count = members_owners(sd->domain->ms, &owner, &need);
	sign_public_of(key, &public);
	while (i < *count && !sign_public_equal(&owner[i], &public))
		i++;
	return i;
}

bool
syncd_keys_owns(const struct syncd *sd)
{
	size_t count;

	return sd->domain->has_owner &&
	       syncd_keys_place(sd, &sd->domain->owner, &count) < count;
}

void
syncd_keys_settle(struct syncd *sd)
{
	struct syncd_domain *d = sd->domain;
	struct err err = { 0 };
	size_t count;

	/* With the entry in memory alone the old key must stay. */
	if (!d->has_next || d->unkept ||
	    syncd_keys_place(sd, &d->next, &count) == count)
		return;
	d->owner = d->next;
	d->has_owner = true;
	/* Else the next start finds both, and looks in the log. */
	if (domain_file_rename(&sd->home, DOMAIN_FILE_OWNER_NEXT,
		DOMAIN_FILE_OWNER, &err) < 0) {
		log_error(&sd->log, "domain: %s", err.text);
		return;
	}
	sign_wipe(&d->next, sizeof(d->next));
	d->has_next = false;
	log_info(&sd->log, "domain key: the new one is the owner's");
}

int
syncd_keys_rotate(struct syncd *sd, struct err *err)
{
	struct syncd_domain *d = sd->domain;
	struct members_entry e = { .kind = MEMBERS_OWNERS };
	const struct sign_public *owner;
	size_t at;
	int rc;

	at = syncd_keys_place(sd, &d->owner, &e.owner_count);
	if (!d->has_owner || at == e.owner_count)
		return err_set(err, ERR_DENIED,
		    "this device has no owner's key that counts");
	rc = syncd_keys_make(sd, DOMAIN_FILE_OWNER_NEXT, &d->next, err);
	if (rc < 0)
		return rc;
	d->has_next = true;
	members_owners(d->ms, &owner, &e.need);
	memcpy(e.owner, owner, e.owner_count * sizeof(e.owner[0]));
	sign_public_of(&d->next, &e.owner[at]);
	return syncd_domain_make(sd, &e, err);
}
