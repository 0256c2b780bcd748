/*
 * The inside of the disk: shared by vdisk.c (names and what is durable of
 * them), vdisk_people.c and vdisk_do.c (effects).
 */
#ifndef HOLDFAST_TESTS_SIM_VDISK_IMPL_H
#define HOLDFAST_TESTS_SIM_VDISK_IMPL_H

#include "engine/base/vec.h"
#include "oracle.h"
#include "vdisk.h"

#define VDISK_EDGES 3u

/* `name` in `dir` is `to` from now on; NULL: nothing. */
struct vedge {
	struct vnode *dir;
	struct slice name;
	struct vnode *to;
};

/* One call's change of names: all of it, or nothing. */
struct vchange {
	struct vedge edge[VDISK_EDGES];
	uint32_t count;
};

struct vdisk {
	struct vdisk_make make;
	struct vnode *root, *marker, *stage; /* as opened; NULL: not there */
	uint64_t next_ino;
	VEC(uint64_t) retired, free_ino;
	int64_t now_ns;
	int64_t room, used;
	bool read_only;
	enum vdisk_away away;
	bool bare; /* opened while its mount point was bare */
	struct vdisk_trouble trouble;
	VEC(struct vchange) pending; /* not durable yet, oldest first */
};

/* Names */
bool vdisk_same_name(const struct vdisk *dk, struct slice a, struct slice b);
struct vname *vdisk_lookup(const struct vdisk *dk, const struct vnode *dir,
    struct slice name);
struct vnode *vdisk_child(const struct vdisk *dk, const struct vnode *dir,
    struct slice name);
/* The directory `path` is in; NULL when that is none. */
struct vnode *vdisk_parent(const struct vdisk *dk, struct slice path);
struct vnode *vdisk_walk(const struct vdisk *dk, struct slice path);

/* Objects */
struct vnode *vdisk_node(struct vdisk *dk, enum identity_type type,
    uint32_t mode);
void vdisk_stamp(struct vdisk *dk, struct vnode *in);
/* Of a rename: the object's own bytes are as durable as they were. */
void vdisk_rename_stamp(struct vdisk *dk, struct vnode *in);
void vdisk_touch(struct vdisk *dk, struct vnode *in);
/* New bytes; `data` must live as long as the disk. */
void vdisk_set_data(struct vdisk *dk, struct vnode *in, struct slice data);

/* Its last name is gone: its number is free after the next full flush. */
void vdisk_retire(struct vdisk *dk, struct vnode *in);

/* Changes of names */
void vdisk_edge(struct vdisk *dk, struct vchange *ch, struct vnode *dir,
    struct slice name, struct vnode *to);
void vdisk_apply(struct vdisk *dk, const struct vchange *ch);

/* Flushes; 0 or an err_code. */
void vdisk_flush_node(struct vnode *in);
void vdisk_flush_dir(struct vdisk *dk, struct vnode *dir);
void vdisk_fail_flush(struct vnode *in);

#endif
