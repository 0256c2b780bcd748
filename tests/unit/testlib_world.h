/*
 * A world of several devices: real engines, disks in memory, links that carry
 * messages through the real encoding.  No doors, no clock, no threads: the
 * same seed gives the same story.
 *
 * Every effect takes a random while, so answers come in any order that the
 * contract allows.  What people and the engines do on a disk is told to the
 * device as hints, as inotify would.
 */
#ifndef HOLDFAST_TESTS_TESTLIB_WORLD_H
#define HOLDFAST_TESTS_TESTLIB_WORLD_H

#include "engine/base/arena.h"
#include "engine/base/clock.h"
#include "engine/engine.h"
#include "testlib_disk.h"

#define TESTLIB_DEVICES 8

struct testlib_world; /* opaque */

/* `count` devices that all share one folder, "f"; none is running yet. */
struct testlib_world *testlib_world_new(uint64_t seed, uint32_t count);
void testlib_world_free(struct testlib_world *w);
void testlib_world_set_mode(struct testlib_world *w, uint32_t dev,
    enum folder_mode mode);
/* Options of its folder, for when it starts next, or testlib_world_setup();
 * trash is on. */
struct setup_folder *testlib_world_folder(struct testlib_world *w,
    uint32_t dev);
void testlib_world_set_features(struct testlib_world *w, uint32_t features);
/* The longest an effect takes, ns; 1 ms unless told. */
void testlib_world_set_delay(struct testlib_world *w, uint64_t ns);

void testlib_world_start(struct testlib_world *w, uint32_t dev);
/* Its options are others since it was started: tell its engine. */
void testlib_world_setup(struct testlib_world *w, uint32_t dev);
/* kill -9: what was not committed is gone; the disk is as it was left. */
void testlib_world_kill(struct testlib_world *w, uint32_t dev);
void testlib_world_connect(struct testlib_world *w, uint32_t a, uint32_t b);
void testlib_world_disconnect(struct testlib_world *w, uint32_t a, uint32_t b);
/*
 * The device has another ID; those that run hear of it, the others when they
 * start.  Its connections end.
 */
void testlib_world_rotate(struct testlib_world *w, uint32_t dev);
/* All of them, and all to each other. */
void testlib_world_start_all(struct testlib_world *w);

struct testlib_disk *testlib_world_disk(struct testlib_world *w, uint32_t dev);
/* Somebody changed `path` on the device's disk: tell its engine. */
void testlib_world_hint(struct testlib_world *w, uint32_t dev,
    const char *path);
void testlib_world_write(struct testlib_world *w, uint32_t dev,
    const char *path, const char *text);
void testlib_world_mkdir(struct testlib_world *w, uint32_t dev,
    const char *path);
void testlib_world_remove(struct testlib_world *w, uint32_t dev,
    const char *path);
void testlib_world_rename(struct testlib_world *w, uint32_t dev,
    const char *from, const char *to);
void testlib_world_command(struct testlib_world *w, uint32_t dev,
    enum command_kind kind);

/* Flushes before its commits answer with this; 0: they do not fail. */
void testlib_world_fail_flushes(struct testlib_world *w, uint32_t dev,
    int code);
/* Its commits fail with ERR_FULL or ERR_BUSY, and are tried again; 0: no. */
void testlib_world_fail_commits(struct testlib_world *w, uint32_t dev,
    int code);

/* Let things happen for `ns`, or until nothing is left to happen. */
void testlib_world_run(struct testlib_world *w, uint64_t ns);
/* One thing; false when nothing is due before something far away. */
bool testlib_world_step(struct testlib_world *w);
/* Run until nothing happens any more; false: it never came to rest. */
bool testlib_world_settle(struct testlib_world *w);
struct now testlib_world_now(const struct testlib_world *w);

/* Counted since the start, of one device. */
uint64_t testlib_world_effects(const struct testlib_world *w, uint32_t dev,
    enum effect_kind kind);
/* COMMITs that were to flush what people wrote. */
uint64_t testlib_world_flushes(const struct testlib_world *w, uint32_t dev);
uint64_t testlib_world_messages(const struct testlib_world *w);
/* Entries of indexes that were sent. */
uint64_t testlib_world_entries(const struct testlib_world *w);
uint64_t testlib_world_payload_bytes(const struct testlib_world *w);
/* Bytes asked for and not answered, at most; where no answer is an error. */
uint64_t testlib_world_asked_most(const struct testlib_world *w);
struct engine *testlib_world_engine(struct testlib_world *w, uint32_t dev);

bool testlib_world_is_same(struct testlib_world *w);
/* cmocka: trees equal on all running devices; nothing left in staging. */
void testlib_world_check_same(struct testlib_world *w);
void testlib_world_check_no_temps(struct testlib_world *w);
/* A line among the log's, of what a person does. */
void testlib_world_say(struct testlib_world *w, uint32_t dev, const char *what,
    const char *path);
/* The last thousand log lines, when something went wrong. */
void testlib_world_print_log(const struct testlib_world *w);

#endif
