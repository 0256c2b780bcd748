/* syncctl: the command line of Holdfast. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>

#include "cli/cmd.h"

int
main(int argc, char **argv)
{
	int code;

	setlocale(LC_TIME, "");
	/* A reader that goes away (head) is no failure worth a message. */
	signal(SIGPIPE, SIG_DFL);
	code = cmd_main(argc, (const char *const *)argv);
	if (fflush(stdout) != 0 && code == CMD_OK)
		code = CMD_FAILED;
	return code;
}
