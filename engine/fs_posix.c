/*
 * The door to a folder on disk: choosing; see fs_posix.h.
 */
#include "engine/fs_posix.h"

#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "engine/base/path.h"
#include "engine/fs_posix_walk.h"

void
fs_posix_work_init(struct fs_posix_work *work)
{
	arena_init(&work->arena);
	work->buf = NULL;
	work->direct = NULL;
}

void
fs_posix_work_fini(struct fs_posix_work *work)
{
	arena_fini(&work->arena);
	mem_free(work->buf);
	mem_free(work->direct);
	work->buf = work->direct = NULL;
}

static int
posix_dispatch(struct fs_root *root, const struct effect *effect,
    struct fs_posix_work *work, struct event *done, struct err *err)
{
	switch (effect->kind) {
	case EFFECT_LIST_DIR:
		return fs_posix_list_dir(root, effect, work, done, err);
	case EFFECT_STAT:
		return fs_posix_stat(root, effect, work, done, err);
	case EFFECT_HASH_FILE:
		return fs_posix_hash_file(root, effect, work, done, err);
	case EFFECT_READ_FILE:
		return fs_posix_read_file(root, effect, work, done, err);
	case EFFECT_READ_BLOCK:
		return fs_posix_read_block(root, effect, work, done, err);
	case EFFECT_CHUNK_FILE:
		return fs_posix_chunk_file(root, effect, work, done, err);
	case EFFECT_WRITE_TEMP:
		return fs_posix_write_temp(root, effect, work, done, err);
	case EFFECT_COPY_TEMP:
		return fs_posix_copy_temp(root, effect, work, done, err);
	case EFFECT_CHECK_TEMP:
		return fs_posix_check_temp(root, effect, work, done, err);
	case EFFECT_SEAL_TEMP:
		return fs_posix_seal_temp(root, effect, work, done, err);
	case EFFECT_SYNC_TEMPS:
		return fs_posix_sync_temps(root, effect->u.sync.name,
		    effect->u.sync.count, false, err);
	case EFFECT_DROP_TEMP:
		return fs_posix_drop_temp(root, effect, work, done, err);
	case EFFECT_LIST_TEMPS:
		return fs_posix_list_temps(root, effect, work, done, err);
	case EFFECT_FINISH_FILE:
		return fs_posix_finish_file(root, effect, work, done, err);
	case EFFECT_MAKE_LINK:
		return fs_posix_make_link(root, effect, work, done, err);
	case EFFECT_MAKE_DIR:
		return fs_posix_make_dir(root, effect, work, done, err);
	case EFFECT_MOVE:
		return fs_posix_move(root, effect, work, done, err);
	case EFFECT_REMOVE:
		return fs_posix_remove(root, effect, work, done, err);
	case EFFECT_SET_META:
		return fs_posix_set_meta(root, effect, work, done, err);
	case EFFECT_PUT_BACK:
		return fs_posix_put_back(root, effect, work, done, err);
	case EFFECT_KEEP_VERSION:
		return fs_posix_keep_version(root, effect, work, done, err);
	case EFFECT_CLEAN_TRASH:
		return fs_posix_clean_trash(root, effect, work, done, err);
	case EFFECT_SYNC_DIRS:
		return fs_posix_sync_dirs(root, effect, work, done, err);
	case EFFECT_OPEN_FOLDER:
	case EFFECT_CLOSE_FOLDER:
	case EFFECT_CHECK_ROOT:
	case EFFECT_MAKE_MARKER:
	case EFFECT_COMMIT:
	case EFFECT_SEND:
	case EFFECT_DROP_PEER:
	case EFFECT_WATCH:
	case EFFECT_NOTE:
		break;
	}
	assert_failed("an effect for this door", __FILE__, __LINE__);
}

int
fs_posix_do(struct fs_root *root, const struct effect *effect,
    struct fs_posix_work *work, struct event *done, struct err *err)
{
	int rc;

	memset(&done->u.done, 0, sizeof(done->u.done));
	done->kind = EVENT_DONE;
	rc = posix_dispatch(root, effect, work, done, err);
	if (rc < 0 && effect->path.len > 0)
		err_wrap(err, "%s", path_print(&work->arena, effect->path));
	return rc;
}
