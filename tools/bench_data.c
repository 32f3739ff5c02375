/* Keys and values that follow from a number, so that every value that is read can be checked; random numbers. */
#include "tools/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define POOL_SIZE ((size_t)64 << 10) /* small enough to stay in the cache: the store is measured, not this */
#define TAG_SIZE sizeof(uint64_t)
#define ZIPF_THETA 0.99

uint64_t bench_mix(uint64_t number)
{
    number = (number ^ (number >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ (number >> 27)) * UINT64_C(0x94d049bb133111eb);
    return number ^ (number >> 31);
}

uint64_t bench_random(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    return bench_mix(*state);
}

uint64_t bench_below(uint64_t *state, uint64_t limit)
{
    return bench_random(state) % limit;
}

bool bench_data_init(struct bench_data *data, const struct bench_config *config)
{
    *data = (struct bench_data){
        .key_size = (size_t)config->key_size, .value_size = (size_t)config->value_size, .seed = config->seed};
    size_t words = (POOL_SIZE + data->value_size) / sizeof(uint64_t) + 1;
    uint64_t *pool = malloc(words * sizeof *pool);
    if (!pool)
        return false;
    uint64_t state = config->seed;
    for (size_t i = 0; i < words; i++)
        pool[i] = bench_random(&state);
    data->pool = (unsigned char *)pool;
    return true;
}

void bench_data_free(struct bench_data *data)
{
    free(data->pool);
    data->pool = NULL;
}

void bench_key(const struct bench_data *data, uint64_t number, char *key)
{
    size_t i = data->key_size;
    for (; i > 0 && number > 0; number /= 10)
        key[--i] = (char)('0' + number % 10);
    memset(key, '0', i);
}

bool bench_key_number(const struct bench_data *data, const void *key, size_t size, uint64_t *ret)
{
    const char *digits = key;
    uint64_t number = 0;
    if (size != data->key_size)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (digits[i] < '0' || digits[i] > '9' || number > UINT64_MAX / 10 - 1)
            return false;
        number = number * 10 + (uint64_t)(digits[i] - '0');
    }
    *ret = number;
    return true;
}

/* A value is a tag that no other key has, then bytes from a place of the pool that depends on the key. */
static uint64_t tag_of(const struct bench_data *data, uint64_t number)
{
    return bench_mix(number + bench_mix(data->seed + 1));
}

void bench_value(const struct bench_data *data, uint64_t number, unsigned char *value)
{
    uint64_t tag = tag_of(data, number);
    size_t tagged = data->value_size < TAG_SIZE ? data->value_size : TAG_SIZE;
    memcpy(value, &tag, tagged);
    memcpy(value + tagged, data->pool + tag % POOL_SIZE, data->value_size - tagged);
}

bool bench_value_is(const struct bench_data *data, uint64_t number, const void *value, size_t size)
{
    const unsigned char *bytes = value;
    uint64_t tag = tag_of(data, number);
    size_t tagged = size < TAG_SIZE ? size : TAG_SIZE;
    return size == data->value_size && memcmp(bytes, &tag, tagged) == 0 &&
           memcmp(bytes + tagged, data->pool + tag % POOL_SIZE, size - tagged) == 0;
}

/* After Gray et al., "Quickly generating billion-record synthetic databases", as YCSB does it. */
void bench_zipf_init(struct bench_zipf *zipf, uint64_t count)
{
    double zeta = 0;
    for (uint64_t i = 1; i <= count; i++)
        zeta += 1.0 / pow((double)i, ZIPF_THETA);
    double zeta_of_2 = 1.0 + pow(0.5, ZIPF_THETA);
    *zipf = (struct bench_zipf){
        .count = count,
        .zeta = zeta,
        .alpha = 1.0 / (1.0 - ZIPF_THETA),
        .eta = count > 2 ? (1.0 - pow(2.0 / (double)count, 1.0 - ZIPF_THETA)) / (1.0 - zeta_of_2 / zeta) : 0,
        .half = zeta_of_2,
    };
}

uint64_t bench_zipf_next(const struct bench_zipf *zipf, uint64_t *state)
{
    double u = (double)(bench_random(state) >> 11) * 0x1p-53;
    double uz = u * zipf->zeta;
    if (uz < 1.0)
        return 0;
    if (uz < zipf->half && zipf->count > 1)
        return 1;
    uint64_t rank = (uint64_t)((double)zipf->count * pow(zipf->eta * u - zipf->eta + 1.0, zipf->alpha));
    return rank < zipf->count ? rank : zipf->count - 1;
}
