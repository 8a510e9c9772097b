/* lib/base/limits.h - every bound of raftkv, with its reason. */
#ifndef RK_LIMITS_H
#define RK_LIMITS_H

/* Keys are B-tree keys with a revision behind them; beyond 1 KiB they would push
 * pages of 4 KiB below Berkeley DB's minimum of two keys a page into overflow. */
#define RK_KEY_BYTES_MAX 1024u
/* One request, and so one log entry: etcd's default of 1.5 MiB. */
#define RK_REQUEST_BYTES_MAX (1536u * 1024u)
/* An encoded command: the request and its framing. */
#define RK_COMMAND_BYTES_MAX (RK_REQUEST_BYTES_MAX + 64u * 1024u)
/* Operations in one transaction: etcd's default. */
#define RK_TXN_OPS_MAX 128u
/* Keys in one answer of a range, and the bytes after which an answer is cut. */
#define RK_RANGE_KEYS_MAX  10000u
#define RK_RANGE_BYTES_MAX (2u * 1024u * 1024u)

/* Members of a cluster, learners included: quorum arithmetic is linear in it. */
#define RK_MEMBERS_MAX       32u
#define RK_NAME_BYTES_MAX    64u
#define RK_ADDRESS_BYTES_MAX 300u /* a host name of 253, brackets, a port */
/* Removed ids that a cluster remembers so that a removed host is told so. */
#define RK_TOMBSTONES_MAX 1024u

/* Exactly once. Origins (members that propose) that a group remembers: more than there can be members, so
 * that the one that is forgotten has left long ago. */
#define RK_ORIGINS_MAX 64u
/* Proposals of one origin that may overtake each other: a host has a few threads that number them, and one
 * that is held up for some milliseconds is overtaken by what the others propose meanwhile. */
#define RK_ORIGIN_WINDOW 1024u
/* Client sessions: together with the window they bound what a snapshot copies when it begins. An answer has
 * some 16 bytes, 1 KiB at worst. */
#define RK_SESSIONS_MAX       1024u
#define RK_SESSION_WINDOW     16u /* writes of one session that may be under way at once */
#define RK_SESSION_TTL_MS     (10u * 60u * 1000u)
#define RK_SESSION_TTL_MS_MIN (10u * 1000u)
#define RK_SESSION_TTL_MS_MAX (24u * 3600u * 1000u)
/* The leader counts time for sessions with an entry every so often, while there are any. A leader that stood
 * still for longer counts less: sessions live too long rather than too short. */
#define RK_SESSION_TICK_MS     5000u
#define RK_SESSION_TICK_MS_MAX 20000u

/* Proposals that the raft thread holds at once; beyond it clients get "busy". */
#define RK_PENDING_MAX 16384u
/* Mails in a thread's box. Bounds the memory of a burst: a mail is a request that a worker read. */
#define RK_MAILBOX_MAX 65536u
/* Entries and bytes in one append message: one TLS turn, one flush. */
#define RK_APPEND_ENTRIES_MAX 1024u
#define RK_APPEND_BYTES_MAX   (1024u * 1024u)
/* A peer frame: an append of one largest entry, or of many up to RK_APPEND_BYTES_MAX, plus framing. */
#define RK_FRAME_BYTES_MAX (RK_APPEND_BYTES_MAX + RK_COMMAND_BYTES_MAX + 256u * 1024u)
/* What one host may answer another: the largest result of a range, which must fit in a frame. */
#define RK_REPLY_BYTES_MAX (RK_RANGE_BYTES_MAX + 64u * 1024u)
/* Bytes that wait to be written to one peer; beyond it messages are dropped, as a network may. */
#define RK_PEER_QUEUE_BYTES_MAX (32u * 1024u * 1024u)
/* Requests forwarded to the leader that wait for an answer, per host. */
#define RK_FORWARD_MAX 16384u
/* Log entries kept in memory for followers that keep up; older ones are read from disk. */
#define RK_CACHE_BYTES_MAX (16u * 1024u * 1024u)
/* Appended and not committed yet: beyond it proposals are refused (a quorum is away or slow). */
/* Appends that a leader has sent to all its peers together, and that are not answered: their copies wait in
 * the links' buffers. */
#define RK_INFLIGHT_ALL_BYTES_MAX (64u * 1024u * 1024u)
#define RK_UNCOMMITTED_BYTES_MAX (64u * 1024u * 1024u)

/* Snapshot stream: one chunk of it. Two are in flight. */
#define RK_SNAPSHOT_CHUNK_BYTES (256u * 1024u)

/* HTTP. */
#define RK_HTTP_HEADER_BYTES_MAX (32u * 1024u)
#define RK_HTTP_HEADERS_MAX      100u
#define RK_HTTP_STREAMS_MAX      128u
#define RK_HTTP_TARGET_BYTES_MAX (8u * 1024u) /* a key of 1 KiB, every byte escaped, and a query */
/* Bytes of requests that one connection may have begun and not got answered: several of the largest at once,
 * yet not RK_HTTP_STREAMS_MAX of them. */
#define RK_HTTP_HELD_BYTES_MAX (32u * 1024u * 1024u)
/* Framing bytes of a chunked body that carry no data: one size line with its extension. */
#define RK_HTTP_CHUNK_LINE_BYTES_MAX 256u
/* HTTP/2 receive windows. A connection's fills a round trip of 1 ms at 1 GB/s. */
#define RK_HTTP_WINDOW_BYTES        (1024u * 1024u)
#define RK_HTTP_STREAM_WINDOW_BYTES (256u * 1024u)
/* HTTP/2 frames that cost us more than their sender: so many at once, and so many per second after that.
 * Resets are what clients that give up cause; PING and SETTINGS each want an answer (some clients measure
 * with a PING for every answer they read, so each frame of ours allows one more); the others are merely cheap
 * to send. */
#define RK_HTTP_RESETS_BURST   400u
#define RK_HTTP_RESETS_PER_S   30u /* nghttp2 from 1.57 on has a limit of its own of 33 */
#define RK_HTTP_CONTROLS_BURST 1000u
#define RK_HTTP_CONTROLS_PER_S 200u
#define RK_HTTP_FRAMES_BURST   20000u
#define RK_HTTP_FRAMES_PER_S   10000u
/* Requests over HTTP/1.1 that one connection may pipeline before we stop reading it. */
#define RK_HTTP_PIPELINE_MAX 64u
#define RK_HTTP_IDLE_MS      (5u * 60u * 1000u)
/* From the first byte of a request to its last: a slow writer loses its connection. */
#define RK_HTTP_REQUEST_MS 30000u
/* An HTTP/2 peer that keeps its windows closed while answers wait loses its connection, too. */
#define RK_HTTP_STALL_MS (2u * 60u * 1000u)

/* The rows are read in the background to see that they still add up: so fast, and so long after each pass. A
 * gigabyte takes a quarter of an hour, a terabyte twelve days; field rates of rot are counted by the year. */
#define RK_SCRUB_BYTES_PER_S (1024u * 1024u)
#define RK_SCRUB_PAUSE_S     600u

/* Connections. */
#define RK_TLS_HANDSHAKE_MS 10000u
#define RK_HANDSHAKES_MAX   512u   /* unfinished handshakes per listener and worker */
#define RK_CONNECTIONS_MAX  16384u /* per worker */
/* Bytes that wait to be written to one client; it reads too slowly and is closed beyond it. */
#define RK_CONN_OUT_BYTES_MAX (64u * 1024u * 1024u)
/* Bytes read from one connection in one turn, so that nobody starves the others. */
#define RK_CONN_READ_BUDGET (256u * 1024u)

#endif
