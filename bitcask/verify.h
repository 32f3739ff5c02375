/* verify.h - bitcask_verify() and what bitcask_repair() shares with it. */
#ifndef BC_VERIFY_H
#define BC_VERIFY_H

#include "bitcask/db.h"

/* As bitcask_verify(), for tests on other I/O. */
int bc_verify(const char *path, const bitcask_verify_options *, const struct bc_environment *, bitcask_verify_result *ret);
/* As bitcask_repair(). */
int bc_repair(const char *path, const bitcask_repair_options *, const struct bc_environment *, bitcask_verify_result *ret);

/* The threads that read. 0: one per processor. */
unsigned bc_verify_threads(const struct bc_environment *, uint32_t wanted);
/* What the MANIFEST itself has to say of damage. */
struct bc_findings;
void bc_verify_say_manifest(struct bc_findings *, uint32_t severity, uint32_t code, const char *what);

#endif
