#include "tools/basho_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define WINDOW ((uint64_t)1 << 20)
#define BLOCK ((uint64_t)4096)
/* Up to this size reading a range is as fast as what the sums need. */
#define DIRECT ((uint64_t)8192)

int basho_file_open(struct basho_file *file, const char *path)
{
    /* A FIFO must not make it wait. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno;
    struct stat st;
    int error = fstat(fd, &st) != 0 ? errno : S_ISREG(st.st_mode) ? 0 : EINVAL;
    if (error) {
        close(fd);
        return error;
    }
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    file->fd = fd;
    file->size = (uint64_t)st.st_size;
    return 0;
}

void basho_file_close(struct basho_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    free(file->sums.crcs);
    free(file->sums.unreadable);
    free(file->sums.edge);
    file->sums = (struct basho_sums){0};
    file->fd = -1;
    file->size = 0;
    file->window.size = 0;
}

void basho_file_free(struct basho_file *file)
{
    basho_file_close(file);
    free(file->window.data);
    *file = (struct basho_file){.fd = -1};
}

/* Reads all of size bytes; 0 or errno. A file that has become shorter is an error like any other. */
static int read_all(int fd, unsigned char *to, uint64_t size, uint64_t offset)
{
    while (size > 0) {
        ssize_t got = pread(fd, to, size, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? errno : EIO;
        to += got;
        size -= (uint64_t)got;
        offset += (uint64_t)got;
    }
    return 0;
}

static bool in_window(const struct basho_file *file, uint64_t offset, uint64_t size)
{
    return offset >= file->window_start && offset - file->window_start <= file->window.size &&
           size <= file->window.size - (offset - file->window_start);
}

const unsigned char *basho_file_at(struct basho_file *file, uint64_t offset, uint64_t size)
{
    if (in_window(file, offset, size))
        return file->window.data + (offset - file->window_start);
    if (!cli_reserve(&file->window, &file->capacity, size > WINDOW ? size : WINDOW)) {
        errno = ENOMEM;
        return NULL;
    }
    uint64_t ahead = file->size - offset < WINDOW ? file->size - offset : WINDOW;
    uint64_t length = size > ahead ? size : ahead;
    file->window_start = offset;
    file->window.size = 0;
    int error = read_all(file->fd, file->window.data, length, offset);
    if (error && length > size) {
        length = size; /* what cannot be read may lie behind what is asked for */
        error = read_all(file->fd, file->window.data, length, offset);
    }
    if (error) {
        errno = error;
        return NULL;
    }
    file->window.size = length;
    return file->window.data;
}

static uint64_t block_size(const struct basho_file *file, uint64_t block)
{
    uint64_t rest = file->size - block * BLOCK;
    return rest < BLOCK ? rest : BLOCK;
}

int basho_file_build_sums(struct basho_file *file)
{
    if (file->sums.crcs)
        return 0;
    uint64_t blocks = (file->size + BLOCK - 1) / BLOCK;
    struct basho_sums sums = {
        .crcs = calloc(blocks + 1, sizeof *sums.crcs),
        .unreadable = calloc(blocks + 1, sizeof *sums.unreadable),
        .edge = malloc(BLOCK),
        .edge_block = UINT64_MAX,
    };
    if (!sums.crcs || !sums.unreadable || !sums.edge) {
        free(sums.crcs);
        free(sums.unreadable);
        free(sums.edge);
        return ENOMEM;
    }
    for (uint64_t block = 0; block < blocks; block++) {
        uint64_t size = block_size(file, block);
        const unsigned char *bytes = basho_file_at(file, block * BLOCK, size);
        sums.crcs[block + 1] = bytes ? (uint32_t)crc32_z(sums.crcs[block], bytes, size) : sums.crcs[block];
        sums.unreadable[block + 1] = sums.unreadable[block] + (bytes ? 0 : 1);
    }
    file->sums = sums;
    return 0;
}

/* The bytes of a block, from the window if near: the border of a range that is close to what is read anyway. */
static const unsigned char *block_bytes(struct basho_file *file, uint64_t block, bool near)
{
    struct basho_sums *sums = &file->sums;
    if (near)
        return basho_file_at(file, block * BLOCK, block_size(file, block));
    if (sums->edge_block == block)
        return sums->edge;
    sums->edge_block = UINT64_MAX;
    errno = read_all(file->fd, sums->edge, block_size(file, block), block * BLOCK);
    if (errno)
        return NULL;
    sums->edge_block = block;
    return sums->edge;
}

/* The CRC of the file up to end. 0 or errno. */
static int prefix_crc(struct basho_file *file, uint64_t end, bool near, uint32_t *ret)
{
    uint64_t block = end / BLOCK;
    const unsigned char *bytes = end % BLOCK > 0 ? block_bytes(file, block, near) : NULL;
    if (end % BLOCK > 0 && !bytes)
        return errno;
    *ret = (uint32_t)crc32_z(file->sums.crcs[block], bytes ? bytes : (const unsigned char *)"", end % BLOCK);
    return 0;
}

/* The CRC of B from those of A and of A followed by B. */
static int crc_by_sums(struct basho_file *file, uint64_t offset, uint64_t size, uint32_t *ret)
{
    uint64_t end = offset + size;
    if (file->sums.unreadable[(end + BLOCK - 1) / BLOCK] != file->sums.unreadable[offset / BLOCK])
        return EIO;
    uint32_t before, both;
    int error = prefix_crc(file, offset, true, &before);
    if (!error)
        error = prefix_crc(file, end, false, &both);
    if (!error)
        *ret = both ^ (uint32_t)crc32_combine(before, 0, (z_off_t)size);
    return error;
}

int basho_file_crc(struct basho_file *file, uint64_t offset, uint64_t size, uint32_t *ret)
{
    if (file->sums.crcs && size > DIRECT)
        return crc_by_sums(file, offset, size, ret);
    uint32_t crc = 0;
    while (size > 0) {
        uint64_t step = size < WINDOW ? size : WINDOW;
        const unsigned char *bytes = basho_file_at(file, offset, step);
        if (!bytes)
            return errno;
        crc = (uint32_t)crc32_z(crc, bytes, step);
        offset += step;
        size -= step;
    }
    *ret = crc;
    return 0;
}
