/*
 * What reading the configuration file and drafts of it share.
 *
 * Private to config_file*_git2.c.  Errors name `shown`, the file a person
 * knows, where what is read is a draft of it.
 */
#ifndef HOLDFAST_CLI_CONFIG_FILE_IMPL_H
#define HOLDFAST_CLI_CONFIG_FILE_IMPL_H

#include "cli/config_file.h"
#include "engine/base/buf.h"

/* The whole text, behind what is in `out`; a missing file is empty. */
int config_file_text(const char *file, struct buf *out, struct err *err);
/* As config_file_read(). */
int config_file_read_as(const char *file, const char *shown, struct arena *ar,
    const struct config_item **out, size_t *count, struct err *err);
/* As config_file_load_from(). */
int config_file_load_as(const struct home *home, const char *file,
    const char *shown, struct arena *ar, struct config *out,
    const struct config_mistake **mistakes, size_t *mistake_count,
    struct err *err);
/* The path behind all links; NULL when it is not there (yet).  mem_free(). */
char *config_file_real(const char *path);
/* ERR_INVALID with what libgit2 says of its last call. */
int config_file_git_error(const char *what, const char *file, struct err *err);

#endif
