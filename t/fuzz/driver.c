/*
 * driver: runs a fuzz target over files, without libFuzzer: those named, or its corpus below $srcdir.
 */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "fuzz.h"

#define PATH_TEXT 1024
#define INPUT_MAX (4 << 20)

static int runs;

static void
run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	char *data = malloc(INPUT_MAX), *exact;
	size_t n;

	must(f != NULL && data != NULL);
	n = fread(data, 1, INPUT_MAX, f);
	fclose(f);
	exact = fuzz_copy(data, n);
	LLVMFuzzerTestOneInput((const uint8_t *)exact, n);
	for (size_t cut = 0; cut < n && cut < 600; cut++) { /* each beginning of it too */
		char *part = fuzz_copy(data, cut);

		LLVMFuzzerTestOneInput((const uint8_t *)part, cut);
		free(part);
	}
	free(exact);
	free(data);
	runs++;
}

static void
run_path(const char *path)
{
	char inner[PATH_TEXT];
	struct dirent *d;
	DIR *dir = opendir(path);

	if (dir == NULL) {
		run_file(path);
		return;
	}
	while ((d = readdir(dir)) != NULL) {
		if (d->d_name[0] == '.')
			continue;
		must((size_t)snprintf(inner, sizeof(inner), "%s/%s", path, d->d_name) < sizeof(inner));
		run_file(inner);
	}
	closedir(dir);
}

int
main(int argc, char **argv)
{
	const char *top = getenv("srcdir"), *name = strstr(argv[0], "fuzz_");
	char corpus[PATH_TEXT];

	for (int i = 1; i < argc; i++)
		run_path(argv[i]);
	if (argc == 1) {
		must(name != NULL);
		for (const char *p = name; (p = strstr(p + 1, "fuzz_")) != NULL;)
			name = p; /* the program's name, not a folder's */
		must((size_t)snprintf(corpus, sizeof(corpus), "%s/t/fuzz/corpus/%s", top ? top : ".", name + 5) <
		     sizeof(corpus));
		run_path(corpus);
	}
	printf("%d inputs and their beginnings\n", runs);
	return runs > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
