/* pins.pml - the protocol of bitcask/pins.c: two counters (parities) a stripe, an epoch, a re-check after the count.
 *
 * Readers enter, take the current object, use it, leave. The unmapper replaces the object, synchronizes, frees the old one.
 * Properties: no reader uses a freed object; the unmapper gets through (no invalid end state).
 *
 *     spin -a pins.pml && gcc -O2 -DSAFETY -o pan pan.c && ./pan -m1000000
 *
 * Seeded bugs, each of which must violate the assertion:
 *     spin -DNO_RECHECK -a pins.pml     a reader trusts the epoch that it read before it counted itself
 *     spin -DLATE_MOVE -a pins.pml      the unmapper drains a parity that readers still enter
 */
#ifndef READERS
#define READERS 2
#endif
#ifndef ROUNDS
#define ROUNDS 3 /* replacements */
#endif
#define STRIPES 2

byte epoch;     /* 32 bits in life; in both it does not wrap while a reader stands between its two looks */
byte inside[4]; /* stripe * 2 + parity */
byte object;    /* the number of the current one */
bool freed[ROUNDS + 1];

proctype Reader(byte stripe)
{
    byte seen, mine, i;
    for (i : 1 .. 2) {
        do
        :: seen = epoch;
           inside[stripe * 2 + (seen & 1)]++;
#ifdef NO_RECHECK
           break
#else
           if
           :: epoch == seen -> break
           :: else -> inside[stripe * 2 + (seen & 1)]--
           fi
#endif
        od;
        mine = object;
        assert(!freed[mine]);
        skip; /* use */
        assert(!freed[mine]);
        inside[stripe * 2 + (seen & 1)]--
    }
}

proctype Unmapper()
{
    byte old, parity, s;
    do
    :: object < ROUNDS ->
       old = object;
       object = old + 1;
#ifdef LATE_MOVE
       parity = epoch & 1;
#else
       atomic {
           parity = epoch & 1;
           epoch++
       };
#endif
       s = 0;
       do
       :: s < STRIPES ->
          inside[s * 2 + parity] == 0; /* waits */
          s++
       :: else -> break
       od;
#ifdef LATE_MOVE
       epoch++;
#endif
       freed[old] = true
    :: else -> break
    od
}

init {
    byte i;
    atomic {
        for (i : 0 .. READERS - 1) {
            run Reader(i % STRIPES)
        }
        run Unmapper()
    }
}
