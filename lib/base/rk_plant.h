/* lib/base/rk_plant.h - bugs planted on purpose, the yardstick of the simulation.
 *
 * A test that has never failed proves little. With ./configure --enable-planted-bugs
 * a build contains these bugs, all switched off, and tests/sim/raftkv-sim --bug NAME
 * switches one on: it must be caught (tests/sim/planted.sh, figures in
 * tests/sim/README.md). Such a build is good for nothing else and is not installed. In
 * any other build RK_PLANT() is the constant false, and nothing of this is left.
 *
 * A bug is planted as `if (... && !RK_PLANT(name))` where the rule is that it breaks. */
#ifndef RK_PLANT_H
#define RK_PLANT_H

/* name, what is wrong with it */
#define RK_PLANTS(X)                                                                                         \
    X(VOTE_TWICE, "a second candidate of a term gets a vote too")                                            \
    X(VOTE_BEFORE_FLUSH, "a vote is sent before it is on disk")                                              \
    X(VOTE_NOT_STORED, "a vote is never written")                                                            \
    X(VOTE_BY_LENGTH, "the longer log wins, whatever its last term")                                         \
    X(VOTE_FOR_ANY_LOG, "logs are not compared")                                                             \
    X(QUORUM_OF_HALF, "half of an even number of voters is enough")                                          \
    X(LEARNER_COUNTS, "the log of a learner counts for the commit")                                          \
    X(JOINT_HALF_FORGOTTEN, "the outgoing voters of a joint configuration are not asked")                    \
    X(OLD_TERM_COUNTED, "entries of earlier terms are committed by counting (figure 8)")                     \
    X(OWN_DISK_FORGOTTEN, "the leader counts itself before its flush")                                       \
    X(ACK_BEFORE_FLUSH, "a follower acknowledges entries before its flush")                                  \
    X(TRUNCATE_ALWAYS, "an append drops what follows its entries although nothing conflicts")                \
    X(PREV_NOT_CHECKED, "a follower appends behind an entry that it does not have")                          \
    X(COMMIT_UNVERIFIED, "a leader tells its commit index to followers whose entries were not compared")     \
    X(STALE_COMPLETION, "a late completion speaks for an entry that took the place of its own (ABA)")        \
    X(OLD_LEADER_FOLLOWED, "appends of an earlier term are taken")                                           \
    X(READ_BEFORE_READY, "a leader reads before anything of its term is committed")                          \
    X(READ_WITHOUT_ROUND, "a leader reads without asking whether it still leads")                            \
    X(READ_JOINS_OLD_ROUND, "a read is confirmed by a round that was out before it came")                    \
    X(READ_NOT_LINEARIZED, "a consistent read is answered from the rows at once")                            \
    X(LEASE_TOO_LONG, "a lease lasts three election timeouts")                                               \
    X(CHANGE_WHILE_PENDING, "a second membership change before the first is committed")                      \
    X(CHANGE_BEFORE_READY, "a membership change before anything of the term is committed")                   \
    X(CHANGE_NOT_UNDONE, "a truncated configuration stays in force")                                         \
    X(REMOVED_TOO_EARLY, "a member hears of its removal before that is committed")                           \
    X(ANSWER_TO_THE_WRONG_WRITE, "whoever waits for an index is answered, whatever entry came there")        \
    X(UNKNOWN_IS_NOTHING_DONE, "a write whose leader is gone is said not to have happened")                  \
    X(CALL_IDS_REPEAT, "ids of forwarded calls begin at 1 in each life")                                     \
    X(CUT_BEFORE_FLUSH, "the log is cut although the rows are not on disk")                                  \
    X(SNAPSHOT_INDEX_WRONG, "a snapshot says that it holds one entry less than it does")                     \
    X(SNAPSHOT_OVER_NEWER, "an older snapshot is installed over newer state")                                \
    X(INSTALL_KEEPS_ROWS, "a snapshot install leaves the old rows where they are")                           \
    X(DEDUP_BY_ORIGIN_SKIPPED, "a proposal that is in the log twice is applied twice")                       \
    X(DEDUP_BY_SESSION_SKIPPED, "a numbered write that is asked for again is applied again")                 \
    X(HASH_NOT_COMPARED, "the leader takes the digests of all members for equal")                            \
    X(HASH_NOT_VERIFIED, "rows that do not add up to their hash are believed")                               \
    X(REPAIRING_VOTES, "a host votes while its damaged log is made whole")                                   \
    X(NEW_HOST_VOTES, "an initial member votes before all are known to be new")                              \
    X(DAMAGE_FORGOTTEN, "a damaged log is cut short, and the host votes on")                                 \
    X(LEASE_PROMISE_FORGOTTEN, "a promise to a leader with a lease ends with a restart")

enum rk_plant {
    RK_PLANT_NONE,
#define RK_PLANT_ENUM(name, text) RK_PLANT_##name,
    RK_PLANTS(RK_PLANT_ENUM)
#undef RK_PLANT_ENUM
        RK_PLANT_END,
};

#ifdef RK_PLANTED
extern enum rk_plant rk_planted; /* the one that is switched on */
#define RK_PLANT(name) (rk_planted == RK_PLANT_##name)
#else
#define RK_PLANT(name) false
#endif

#endif
