/*
 * positions: one page: magic, version, checksum, who wrote it, and the positions; big-endian.
 */
#include "store/positions.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crc.h"
#include "common/log.h"

#define MAGIC   0x524d5150u /* "RMQP" */
#define BOOT_ID "/proc/sys/kernel/random/boot_id"

/* layout */
#define P_MAGIC      0
#define P_VERSION    4
#define P_CRC        8 /* of all that follows */
#define P_BOOT       12
#define P_PLACES     48 /* inodes of the file itself and of the directories, and the device of the first */
#define PLACES       5
#define P_DISPATCHED (P_PLACES + PLACES * 8)
#define P_STORE_MS   (P_DISPATCHED + 8)
#define P_LAST       (P_DISPATCHED + 16)
#define P_FLUSHED    (P_DISPATCHED + 24)
#define P_QUEUES     (P_DISPATCHED + 32)
#define FILE_BYTES   (P_DISPATCHED + 40)

#define PATH_BELOW (PATH_MAX + 32)

static const char *made_boot_id;

void
positions_set_boot_id(const char *id)
{
	made_boot_id = id;
}

static void
read_boot_id(char *out)
{
	int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, BOOT_ID_LEN);

	out[n == BOOT_ID_LEN ? BOOT_ID_LEN : 0] = '\0';
	if (fd >= 0)
		close(fd);
	if (made_boot_id != NULL)
		snprintf(out, BOOT_ID_LEN + 1, "%-36.36s", made_boot_id);
}

void
positions_init(struct positions_file *f, const char *root, const char *log_dir)
{
	*f = (struct positions_file){.fd = -1};
	snprintf(f->root, sizeof(f->root), "%s", root);
	snprintf(f->log_dir, sizeof(f->log_dir), "%s", log_dir);
	read_boot_id(f->boot_id);
}

void
positions_close(struct positions_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

static void
path_below(const char *root, const char *name, char *out)
{
	snprintf(out, PATH_BELOW, "%.*s/%s", PATH_MAX, root, name);
}

static uint64_t
inode_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

/* Which file and directories these are. A directory that is made later is another place: then the next note says it. */
static void
put_places(const struct positions_file *f, int fd, char *page)
{
	char queues[PATH_BELOW], index[PATH_BELOW];
	struct stat st = {0};

	(void)fstat(fd, &st);
	path_below(f->root, "consumequeue", queues);
	path_below(f->root, "index", index);
	be64_put(page + P_PLACES, (uint64_t)st.st_dev);
	be64_put(page + P_PLACES + 8, (uint64_t)st.st_ino);
	be64_put(page + P_PLACES + 16, inode_of(f->log_dir));
	be64_put(page + P_PLACES + 24, inode_of(queues));
	be64_put(page + P_PLACES + 32, inode_of(index));
}

static void
encode(const struct positions_file *f, int fd, const struct positions *p, char *page)
{
	memset(page, 0, FILE_BYTES);
	be32_put(page + P_MAGIC, MAGIC);
	be32_put(page + P_VERSION, POSITIONS_VERSION);
	memcpy(page + P_BOOT, f->boot_id, BOOT_ID_LEN);
	put_places(f, fd, page);
	be64_put(page + P_DISPATCHED, (uint64_t)p->dispatched);
	be64_put(page + P_STORE_MS, (uint64_t)p->dispatched_store_ms);
	be64_put(page + P_LAST, (uint64_t)p->last_record);
	be64_put(page + P_FLUSHED, (uint64_t)p->flushed);
	be64_put(page + P_QUEUES, (uint64_t)p->queues);
	be32_put(page + P_CRC, crc32_of(page + P_BOOT, FILE_BYTES - P_BOOT));
}

/* Is the page what this store would write now, but for the positions themselves? */
static bool
is_ours(const struct positions_file *f, int fd, const char *page)
{
	static const struct positions none;
	char mine[FILE_BYTES];

	encode(f, fd, &none, mine);
	return memcmp(page, mine, P_CRC) == 0 && memcmp(page + P_BOOT, mine + P_BOOT, P_DISPATCHED - P_BOOT) == 0 &&
	       be32_get(page + P_CRC) == crc32_of(page + P_BOOT, FILE_BYTES - P_BOOT);
}

bool
positions_read(struct positions_file *f, struct positions *p)
{
	char path[PATH_BELOW], page[FILE_BYTES];
	int fd;

	path_below(f->root, POSITIONS_NAME, path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (f->boot_id[0] == '\0' || pread(fd, page, sizeof(page), 0) != FILE_BYTES || !is_ours(f, fd, page)) {
		close(fd);
		return false;
	}
	f->fd = fd;
	p->dispatched = (int64_t)be64_get(page + P_DISPATCHED);
	p->dispatched_store_ms = (int64_t)be64_get(page + P_STORE_MS);
	p->last_record = (int64_t)be64_get(page + P_LAST);
	p->flushed = (int64_t)be64_get(page + P_FLUSHED);
	p->queues = (int64_t)be64_get(page + P_QUEUES);
	return true;
}

/* An old one may be another file's copy: always a new one, so that its inode is its own. */
static int
make_file(const struct positions_file *f)
{
	char path[PATH_BELOW];

	path_below(f->root, POSITIONS_NAME, path);
	if (unlink(path) != 0 && errno != ENOENT)
		return -1;
	return open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
}

void
positions_note(struct positions_file *f, const struct positions *p)
{
	char page[FILE_BYTES];

	if (f->boot_id[0] == '\0')
		return;
	if (f->fd < 0)
		f->fd = make_file(f);
	if (f->fd >= 0) {
		encode(f, f->fd, p, page);
		if (pwrite(f->fd, page, sizeof(page), 0) == (ssize_t)sizeof(page))
			return;
	}
	if (!f->said)
		log_warn("%s/" POSITIONS_NAME
			 " cannot be written: %s; a start after a kill will take longer, nothing else",
			 f->root, strerror(errno));
	f->said = true;
}

bool
positions_remove(const char *root)
{
	char path[PATH_BELOW];

	path_below(root, POSITIONS_NAME, path);
	return unlink(path) == 0 || errno == ENOENT;
}
