/*
 * For LD_PRELOAD: a program whose flushes do nothing.
 *
 * What run.py finds without it is worth something only if it finds this
 * (test_powerloss.py): every order of durability the daemon keeps is undone.
 */
#include <unistd.h>

int
fsync(int fd)
{
	(void)fd;
	return 0;
}

int
fdatasync(int fd)
{
	(void)fd;
	return 0;
}

int
syncfs(int fd)
{
	(void)fd;
	return 0;
}
