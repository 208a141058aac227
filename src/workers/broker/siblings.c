/*
 * siblings: what the broker tells flush and clean.
 *
 * Runs in:    the broker process.
 * Owns:       what a full channel did not take.
 * Must not:   send a mark before all the files that it covers, nor lose a file: flush would call stable what is not.
 */
#include "workers/broker/siblings.h"

struct siblings {
	struct broker	*b;
	char		**files;	/* not sent yet, oldest first */
	size_t		 count, sent, cap;
	struct store_mark mark;
	bool		 has_mark, has_roll;
	int64_t		 rolled_from;
};

struct siblings *
siblings_new(struct broker *b)
{
	struct siblings *s = xcalloc(1, sizeof(*s));

	s->b = b;
	return s;
}

void
siblings_free(struct siblings **s)
{
	if (*s == NULL)
		return;
	for (size_t i = (*s)->sent; i < (*s)->count; i++)
		free((*s)->files[i]);
	free((*s)->files);
	free(*s);
	*s = NULL;
}

static int
channel(const struct siblings *s, enum role role)
{
	return s->b->w->peer_fds[role];
}

static void
keep_file(struct siblings *s, const char *path)
{
	if (s->sent > 0 && s->count == s->cap) {
		memmove(s->files, s->files + s->sent, (s->count - s->sent) * sizeof(s->files[0]));
		s->count -= s->sent;
		s->sent = 0;
	}
	if (s->count == s->cap) {
		s->cap = s->cap == 0 ? 64 : s->cap * 2;
		s->files = xrealloc(s->files, s->cap * sizeof(s->files[0]));
	}
	s->files[s->count++] = xstrdup(path);
}

void
siblings_dirty_file(struct siblings *s, const char *path)
{
	int fd = channel(s, WORKER_FLUSH);

	if (fd < 0)
		return;
	if (s->sent < s->count || ipc_send(fd, IPC_BROKER_FLUSH_FILE, path) == RC_AGAIN)
		keep_file(s, path);
}

/* True: none is left. */
static bool
push_files(struct siblings *s, int fd)
{
	while (s->sent < s->count) {
		if (ipc_send(fd, IPC_BROKER_FLUSH_FILE, s->files[s->sent]) == RC_AGAIN)
			return false;
		free(s->files[s->sent++]);
	}
	s->count = s->sent = 0;
	return true;
}

static void
push_mark(struct siblings *s, int fd)
{
	struct store_mark *m = &s->mark;

	if (!s->has_mark)
		s->has_mark = store_next_mark(s->b->store, m);
	if (s->has_mark && !push_files(s, fd)) /* asking for the mark may have named more files */
		return;
	if (s->has_mark && ipc_send(fd, IPC_BROKER_FLUSH_MARK, m->id, m->store_ms, m->log_offset, m->index_ms, m->life) != RC_AGAIN)
		s->has_mark = false;
}

static void
push_roll(struct siblings *s)
{
	int fd = channel(s, WORKER_CLEAN);

	if (fd < 0 || ipc_send(fd, IPC_BROKER_CLEAN_PREPARE, s->rolled_from) != RC_AGAIN)
		s->has_roll = false;
}

void
siblings_rolled(struct siblings *s, int64_t from)
{
	s->rolled_from = from;
	s->has_roll = true;
	push_roll(s);
}

void
siblings_push(struct siblings *s)
{
	int fd = channel(s, WORKER_FLUSH);

	if (s->has_roll)
		push_roll(s);
	if (fd >= 0 && push_files(s, fd))
		push_mark(s, fd);
}
