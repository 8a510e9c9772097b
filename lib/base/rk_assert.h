/* lib/base/rk_assert.h - assertions that stay on in release builds.
 *
 * A failed assertion means that the program's own state cannot be trusted any
 * more. The process stops at once; Raft and the write-ahead log make a stop the
 * safe answer, while carrying on could spread the damage to other members. */
#ifndef RK_ASSERT_H
#define RK_ASSERT_H

#define rk_assert(expr) ((expr) ? (void)0 : rk_assert_fail(#expr, __FILE__, __LINE__, __func__))

/* Prints one line on stderr and aborts. Pure code may call it: it is the only way out of lib/raft. */
_Noreturn void rk_assert_fail(const char *expr, const char *file, int line, const char *func);

#endif
