/* lib/mvcc/mvcc_verify.h - seeing the rows of a stream while it is checked. Private to lib/mvcc. */
#ifndef MVCC_VERIFY_H
#define MVCC_VERIFY_H

#include "lib/mvcc/mvcc.h"
#include "lib/mvcc/mvcc_rows.h"

/* Called for each row once its block and the row were found good; valid during the call. A negative errno
 * ends the feed that it came from with this errno. */
typedef int (*mvcc_row_fn)(void *userdata, const struct mvcc_row *row);
void mvcc_verify_set_rows(struct mvcc_verify *verify, mvcc_row_fn fn, void *userdata);
/* Takes the records of what has been applied and answered, each once it was found good. */
struct mvcc_once;
void mvcc_verify_set_once(struct mvcc_verify *verify, struct mvcc_once *once);

#endif
