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

/* Is there a ballot that would make the next key an owner's? */
static bool
syncd_keys_waits(const struct syncd *sd)
{
	const struct syncd_domain *d = sd->domain;
	const struct ballot_item *it;
	struct sign_public public;

	if (!d->has_next)
		return false;
	sign_public_of(&d->next, &public);
	for (size_t i = 0; (it = ballot_at(d->ballot, i)) != NULL; i++)
		for (size_t k = 0; k < it->e.owner_count; k++)
			if (sign_public_equal(&it->e.owner[k], &public))
				return true;
	return false;
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
	if (syncd_keys_waits(sd))
		return err_set(err, ERR_BUSY,
		    "a new key waits for other owners' signatures already");
	rc = syncd_keys_make(sd, DOMAIN_FILE_OWNER_NEXT, &d->next, err);
	if (rc < 0)
		return rc;
	d->has_next = true;
	members_owners(d->ms, &owner, &e.need);
	memcpy(e.owner, owner, e.owner_count * sizeof(e.owner[0]));
	sign_public_of(&d->next, &e.owner[at]);
	return syncd_domain_make(sd, &e, err);
}

int
syncd_keys_new(struct syncd *sd, struct err *err)
{
	struct syncd_domain *d = sd->domain;
	int rc = 0;

	if (!syncd_domain_is_in(sd))
		return err_set(err, ERR_NOT_FOUND,
		    "this device is no member of a domain");
	if (syncd_keys_owns(sd) || d->has_next)
		return 0;
	rc = syncd_keys_make(sd, DOMAIN_FILE_OWNER_NEXT, &d->next, err);
	d->has_next = rc == 0;
	return rc;
}

/* The owners there are, to be changed. */
static void
syncd_keys_owners(const struct syncd *sd, struct members_entry *e)
{
	const struct sign_public *owner;

	*e = (struct members_entry){ .kind = MEMBERS_OWNERS };
	e->owner_count = members_owners(sd->domain->ms, &owner, &e->need);
	memcpy(e->owner, owner, e->owner_count * sizeof(e->owner[0]));
}

int
syncd_keys_owner(struct syncd *sd, struct slice key, bool add, struct err *err)
{
	struct members_entry e;
	struct sign_public public;
	size_t at = 0;
	int rc = domain_record_public(&public, key, err);

	if (rc < 0)
		return rc;
	syncd_keys_owners(sd, &e);
	while (at < e.owner_count && !sign_public_equal(&e.owner[at], &public))
		at++;
	if (add != (at == e.owner_count))
		return add ? err_set(err, ERR_EXISTS,
				 "this is an owner's key already")
			   : err_set(err, ERR_NOT_FOUND,
				 "this is no owner's key");
	if (add && e.owner_count == MEMBERS_OWNERS_MAX)
		return err_set(err, ERR_LIMIT, "there are %u owners' keys",
		    MEMBERS_OWNERS_MAX);
	if (add) {
		e.owner[e.owner_count++] = public;
	} else {
		if (e.owner_count <= e.need)
			return err_set(err, ERR_INVALID,
			    "%u of the owners must sign, so none can go: "
			    "syncctl domain quorum",
			    (unsigned)e.need);
		for (size_t i = at + 1; i < e.owner_count; i++)
			e.owner[i - 1] = e.owner[i];
		e.owner_count--;
	}
	return syncd_domain_make(sd, &e, err);
}

int
syncd_keys_quorum(struct syncd *sd, uint64_t need, struct err *err)
{
	struct members_entry e;

	syncd_keys_owners(sd, &e);
	if (need == 0 || need > e.owner_count)
		return err_set(err, ERR_INVALID,
		    "there are %zu owners' keys, so 1 to %zu of them can be "
		    "asked to sign",
		    e.owner_count, e.owner_count);
	if (need == e.need)
		return 0;
	e.need = (uint32_t)need;
	return syncd_domain_make(sd, &e, err);
}
