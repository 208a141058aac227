#include <netinet/in.h>

#include "common/sock.h"
#include "t/unit/node.h"
#include "workers/ha/ha.h"

static struct node n;

static void
begin(enum broker_role role)
{
	node_init(&n, WORKER_HA);
	atomic_store(&n.shm->master.role, role);
	pos_publish(&n.shm->broker.appended, 5000);
}

static void
run(void)
{
	node_start(&n, ha_run);
	node_ready(&n);
}

static void
end(void)
{
	CU_ASSERT_EQUAL(node_stop(&n), 0);
	node_free(&n);
}

static int
listen_somewhere(void)
{
	struct err e;
	int fd;

	for (int port = 21000 + getpid() % 5000; port < 30000; port++)
		if (sock_listen("127.0.0.1", port, &fd, &e) == RC_OK)
			return fd;
	return -1;
}

static void
an_asynchronous_master_asks_for_no_replica(void)
{
	begin(ROLE_ASYNC_MASTER);
	run();
	CU_ASSERT_EQUAL(pos_read(&n.shm->ha.replicated), 5000);
	end();
}

static void
a_synchronous_master_is_not_told_of_copies_that_nobody_has(void)
{
	begin(ROLE_SYNC_MASTER);
	run();
	CU_ASSERT_EQUAL(pos_read(&n.shm->ha.replicated), 0);
	CU_ASSERT_EQUAL(atomic_load(&n.shm->ha.slaves), 0);
	end();
}

static void
a_slave_that_connects_is_turned_away(void)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	char byte;
	int fd;

	begin(ROLE_ASYNC_MASTER);
	n.w.listen_fds[0] = listen_somewhere();
	CU_ASSERT_TRUE_FATAL(n.w.listen_fds[0] >= 0);
	run();
	CU_ASSERT_EQUAL(getsockname(n.w.listen_fds[0], (struct sockaddr *)&a, &len), 0);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CU_ASSERT_EQUAL(connect(fd, (struct sockaddr *)&a, len), 0);
	CU_ASSERT_EQUAL(read(fd, &byte, 1), 0);
	close(fd);
	close(n.w.listen_fds[0]);
	end();
}

TEST_MAIN("ha", TEST(an_asynchronous_master_asks_for_no_replica),
    TEST(a_synchronous_master_is_not_told_of_copies_that_nobody_has), TEST(a_slave_that_connects_is_turned_away))
