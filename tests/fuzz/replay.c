/*
 * Feeds every file below the given directories to a fuzz target, once.
 *
 * This is what a fuzz target is in ordinary builds: a regression test over
 * its corpus, under any compiler.  It never looks for new inputs.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REPLAY_LEN_MAX (16u << 20) /* bytes; a larger corpus file is a slip */
#define REPLAY_PATH_MAX 4096

static int
replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = NULL;
	size_t len = 0;

	if (f == NULL)
		return -1;
	data = malloc(REPLAY_LEN_MAX);
	if (data != NULL)
		len = fread(data, 1, REPLAY_LEN_MAX, f);
	fclose(f);
	if (data == NULL)
		return -1;
	/* An exact copy, so that a sanitizer sees reads past the end. */
	uint8_t *exact = malloc(len > 0 ? len : 1);
	if (exact != NULL) {
		memcpy(exact, data, len);
		(void)LLVMFuzzerTestOneInput(exact, len);
	}
	free(exact);
	free(data);
	return 0;
}

static unsigned
replay_dir(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned count = 0;
	struct dirent *e;

	if (d == NULL)
		return 0;
	while ((e = readdir(d)) != NULL) {
		char path[REPLAY_PATH_MAX];
		struct stat st;
		int n;

		if (e->d_name[0] == '.')
			continue;
		n = snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (n < 0 || (size_t)n >= sizeof(path))
			continue;
		if (stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
		    replay_file(path) == 0)
			count++;
	}
	closedir(d);
	return count;
}

int
main(int argc, char **argv)
{
	unsigned count = 0;

	(void)LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (int i = 1; i < argc; i++)
		count += replay_dir(argv[i]);
	printf("%u inputs replayed\n", count);
	return 0;
}
