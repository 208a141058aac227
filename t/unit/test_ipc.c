/*
 * test_ipc: messages between processes.
 */
#include "test.h"

#include <sys/socket.h>
#include <unistd.h>

#include "common/ipc.h"

static int fds[2];

static void
open_pair(void)
{
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
}

static void
close_pair(void)
{
	close(fds[0]);
	close(fds[1]);
}

/* Sends raw bytes and says what the receiver makes of them. */
static enum rc
receive_raw(const void *p, size_t n)
{
	struct ipc_msg m;
	enum rc rc;

	open_pair();
	CU_ASSERT_EQUAL(send(fds[0], p, n, 0), (ssize_t)n);
	rc = ipc_recv(fds[1], &m);
	close_pair();
	return rc;
}

static void
fields_arrive_in_their_order(void)
{
	struct ipc_msg m;

	open_pair();
	CU_ASSERT_EQUAL(ipc_send(fds[0], IPC_BROKER_FLUSH_MARK, INT64_MIN, INT64_MAX, (int64_t)-1, (int64_t)7, INT64_C(8)), RC_OK);
	CU_ASSERT_EQUAL(ipc_send(fds[0], IPC_WARM_BROKER_DONE, (int64_t)9, (int32_t)-5), RC_OK);
	CU_ASSERT_EQUAL_FATAL(ipc_recv(fds[1], &m), RC_OK);
	CU_ASSERT_EQUAL(m.type, IPC_BROKER_FLUSH_MARK);
	CU_ASSERT_EQUAL(ipc_i64(&m), INT64_MIN);
	CU_ASSERT_EQUAL(ipc_i64(&m), INT64_MAX);
	CU_ASSERT_EQUAL(ipc_i64(&m), -1);
	CU_ASSERT_EQUAL(ipc_i64(&m), 7);
	CU_ASSERT_EQUAL(ipc_i64(&m), 8);
	ipc_end(&m);
	CU_ASSERT_EQUAL_FATAL(ipc_recv(fds[1], &m), RC_OK);
	CU_ASSERT_EQUAL(m.type, IPC_WARM_BROKER_DONE);
	CU_ASSERT_EQUAL(ipc_i64(&m), 9);
	CU_ASSERT_EQUAL(ipc_i32(&m), -5);
	ipc_end(&m);
	close_pair();
}

static void
texts_arrive_whole_and_empty_ones_too(void)
{
	struct ipc_msg m;

	open_pair();
	CU_ASSERT_EQUAL(ipc_send(fds[0], IPC_MASTER_ALL_PARAM, "fileReservedTime", ""), RC_OK);
	CU_ASSERT_EQUAL_FATAL(ipc_recv(fds[1], &m), RC_OK);
	CU_ASSERT_STRING_EQUAL(ipc_str(&m), "fileReservedTime");
	CU_ASSERT_STRING_EQUAL(ipc_str(&m), "");
	ipc_end(&m);
	close_pair();
}

static void
nothing_there_is_again_and_nobody_there_is_closed(void)
{
	struct ipc_msg m;

	open_pair();
	CU_ASSERT_EQUAL(ipc_recv(fds[1], &m), RC_AGAIN);
	close(fds[0]);
	CU_ASSERT_EQUAL(ipc_recv(fds[1], &m), RC_CLOSED);
	CU_ASSERT_EQUAL(ipc_send(fds[1], IPC_MASTER_ALL_STOP), RC_CLOSED);
	close(fds[1]);
}

static void
what_was_sent_before_the_end_is_still_received(void)
{
	struct ipc_msg m;

	open_pair();
	CU_ASSERT_EQUAL(ipc_send(fds[0], IPC_ALL_MASTER_LAST_WORDS, "farewell"), RC_OK);
	close(fds[0]);
	CU_ASSERT_EQUAL_FATAL(ipc_recv(fds[1], &m), RC_OK);
	CU_ASSERT_STRING_EQUAL(ipc_str(&m), "farewell");
	CU_ASSERT_EQUAL(ipc_recv(fds[1], &m), RC_CLOSED);
	close(fds[1]);
}

static void
a_full_channel_is_again_and_loses_nothing_that_was_taken(void)
{
	struct ipc_msg m;
	int64_t sent = 0, got = 0;

	open_pair();
	while (ipc_send(fds[0], IPC_FLUSH_BROKER_MARKED, sent) == RC_OK)
		sent++;
	CU_ASSERT_TRUE(sent > 10);
	while (ipc_recv(fds[1], &m) == RC_OK)
		CU_ASSERT_EQUAL(ipc_i64(&m), got++);
	CU_ASSERT_EQUAL(got, sent);
	close_pair();
}

static void
text_that_does_not_fit_is_refused(void)
{
	static char text[IPC_MAX + 1];
	struct ipc_msg m;

	memset(text, 'x', sizeof(text) - 1);
	open_pair();
	CU_ASSERT_EQUAL(ipc_send(fds[0], IPC_MASTER_ALL_PARAM, "key", text), RC_LIMIT);
	CU_ASSERT_EQUAL(ipc_recv(fds[1], &m), RC_AGAIN);
	text[IPC_MAX - 4 - (4 + 4) - (4 + 1)] = '\0'; /* type, "key" and the text's own head: the largest that fits */
	CU_ASSERT_EQUAL(ipc_send(fds[0], IPC_MASTER_ALL_PARAM, "key", text), RC_OK);
	CU_ASSERT_EQUAL(ipc_recv(fds[1], &m), RC_OK);
	close_pair();
}

static void
bytes_that_are_no_message_are_refused(void)
{
	const uint32_t unknown = IPC_TYPES, none = IPC_NONE, stop = IPC_MASTER_ALL_STOP;
	const uint32_t marked_short[2] = {IPC_FLUSH_BROKER_MARKED, 1};
	const uint32_t stop_long[2] = {IPC_MASTER_ALL_STOP, 1};
	static char huge[IPC_MAX + 10];

	CU_ASSERT_EQUAL(receive_raw(&stop, 4), RC_OK);
	CU_ASSERT_EQUAL(receive_raw(&stop, 3), RC_BADDATA);
	CU_ASSERT_EQUAL(receive_raw(&unknown, 4), RC_BADDATA);
	CU_ASSERT_EQUAL(receive_raw(&none, 4), RC_BADDATA);
	CU_ASSERT_EQUAL(receive_raw(marked_short, sizeof(marked_short)), RC_BADDATA);
	CU_ASSERT_EQUAL(receive_raw(stop_long, sizeof(stop_long)), RC_BADDATA);
	memcpy(huge, &stop, 4);
	CU_ASSERT_EQUAL(receive_raw(huge, sizeof(huge)), RC_BADDATA);
}

static void
a_text_length_that_lies_is_refused(void)
{
	struct {
		uint32_t type, len;
		char text[4];
	} m = {IPC_ALL_MASTER_EVENT, 3, "abc"};

	CU_ASSERT_EQUAL(receive_raw(&m, sizeof(m)), RC_OK);
	m.len = 4;
	CU_ASSERT_EQUAL(receive_raw(&m, sizeof(m)), RC_BADDATA);
	m.len = UINT32_MAX;
	CU_ASSERT_EQUAL(receive_raw(&m, sizeof(m)), RC_BADDATA);
	m.len = 2; /* then the text does not end in NUL */
	CU_ASSERT_EQUAL(receive_raw(&m, sizeof(m)), RC_BADDATA);
	m.len = 3;
	m.text[3] = 'd';
	CU_ASSERT_EQUAL(receive_raw(&m, sizeof(m)), RC_BADDATA);
	CU_ASSERT_EQUAL(receive_raw(&m, 6), RC_BADDATA);
}

TEST_MAIN("common/ipc", TEST(fields_arrive_in_their_order), TEST(texts_arrive_whole_and_empty_ones_too),
    TEST(nothing_there_is_again_and_nobody_there_is_closed), TEST(what_was_sent_before_the_end_is_still_received),
    TEST(a_full_channel_is_again_and_loses_nothing_that_was_taken), TEST(text_that_does_not_fit_is_refused),
    TEST(bytes_that_are_no_message_are_refused), TEST(a_text_length_that_lies_is_refused))
