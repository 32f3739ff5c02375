#include "bitcask/hash.h"

#include "bitcask/coding.h"

struct state {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate_left(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void sip_round(struct state *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotate_left(s->v1, 13) ^ s->v0;
    s->v3 = rotate_left(s->v3, 16) ^ s->v2;
    s->v0 = rotate_left(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotate_left(s->v1, 17) ^ s->v2;
    s->v3 = rotate_left(s->v3, 21) ^ s->v0;
    s->v2 = rotate_left(s->v2, 32);
}

static inline void compress(struct state *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

/* The last word: what is left of the data, and the size's low byte on top. */
static inline uint64_t last_word(const uint8_t *tail, size_t size)
{
    uint64_t word = (uint64_t)size << 56;
    size_t left = size % 8;
    if (left >= 4) {
        uint64_t high = bc_get_u32(tail + left - 4);
        return word | high << (8 * (left - 4)) | bc_get_u32(tail);
    }
    if (left != 0) /* bytes 0, left / 2 and left - 1 are all there are; some coincide */
        word |= (uint64_t)tail[0] | (uint64_t)tail[left / 2] << (8 * (left / 2)) | (uint64_t)tail[left - 1] << (8 * (left - 1));
    return word;
}

uint64_t bc_hash(const struct bc_hash_secret *secret, const void *data, size_t size)
{
    const uint8_t *p = data;
    struct state s = {
        secret->k0 ^ 0x736f6d6570736575U,
        secret->k1 ^ 0x646f72616e646f6dU,
        secret->k0 ^ 0x6c7967656e657261U,
        secret->k1 ^ 0x7465646279746573U,
    };
    for (size_t words = size / 8; words != 0; words--, p += 8)
        compress(&s, bc_get_u64(p));
    compress(&s, last_word(p, size));
    s.v2 ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
