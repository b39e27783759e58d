/* tile_emu.c - see tile_emu.h. */
#include "tile_emu.h"

#include <stdbool.h>
#include <string.h>

enum { TILES = 8, ROWS_MAX = 16, BYTES_MAX = 64 };

static bool tile_emu_all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

/* 0 palette, 1 start row, 2..15 reserved, 16.. bytes a row of 16 tiles, 48.. rows of 16 tiles */
const char *tile_emu_configure(struct tile_emu *emu, const uint8_t config[64])
{
    struct tile_emu e = {.palette = config[0]};

    if (e.palette == 0)
        return "a configuration of palette 0 releases: say tilerelease";
    if (e.palette != 1)
        return "the palette is not 1";
    if (config[1] || !tile_emu_all_zero(config + 2, 14))
        return "start row and reserved bytes are not 0";
    if (!tile_emu_all_zero(config + 32, 16) || !tile_emu_all_zero(config + 56, 8))
        return "tiles from 8 on are not 0";
    for (int i = 0; i < TILES; i++) {
        e.row_bytes[i] = (uint16_t)(config[16 + 2 * i] | config[17 + 2 * i] << 8);
        e.n_rows[i] = config[48 + i];
        if (e.row_bytes[i] > BYTES_MAX || e.n_rows[i] > ROWS_MAX)
            return "a tile is larger than 16 rows of 64 bytes";
        if (!e.row_bytes[i] != !e.n_rows[i])
            return "a tile has rows of no bytes, or bytes of no rows";
    }
    *emu = e;
    return NULL;
}

void tile_emu_release(struct tile_emu *emu)
{
    *emu = (struct tile_emu){0};
}

static const char *tile_emu_check(const struct tile_emu *emu, int tile)
{
    if (!emu->palette)
        return "tiles are not configured";
    return emu->n_rows[tile] ? NULL : "the configuration leaves this tile out";
}

const char *tile_emu_zero(struct tile_emu *emu, int tile)
{
    const char *fault = tile_emu_check(emu, tile);

    if (fault)
        return fault;
    memset(emu->data[tile], 0, sizeof(emu->data[tile]));
    emu->is_set |= (uint8_t)(1 << tile);
    return NULL;
}

const char *tile_emu_load(struct tile_emu *emu, int tile, const uint8_t *base, int64_t stride)
{
    const char *fault = tile_emu_zero(emu, tile);

    for (int i = 0; i < emu->n_rows[tile] && !fault; i++)
        memcpy(emu->data[tile][i], base + i * stride, emu->row_bytes[tile]);
    return fault;
}

const char *tile_emu_store(const struct tile_emu *emu, int tile, uint8_t *base, int64_t stride)
{
    const char *fault = tile_emu_check(emu, tile);

    if (fault)
        return fault;
    if (!(emu->is_set >> tile & 1))
        return "what was never loaded is stored";
    for (int i = 0; i < emu->n_rows[tile]; i++)
        memcpy(base + i * stride, emu->data[tile][i], emu->row_bytes[tile]);
    return NULL;
}

static const char *tile_emu_check_dot(const struct tile_emu *emu, int sum, int a, int b)
{
    const int all = 1 << sum | 1 << a | 1 << b;

    if (sum == a || sum == b || a == b)
        return "a product's tiles are not three";
    if (emu->row_bytes[sum] % 4 || emu->row_bytes[a] % 4 || emu->row_bytes[b] % 4)
        return "a row is no whole number of quads";
    if (emu->n_rows[a] != emu->n_rows[sum])
        return "the first factor has not as many rows as the sum";
    if (emu->row_bytes[a] / 4 != emu->n_rows[b])
        return "the second factor has not as many rows as the first has quads";
    if (emu->row_bytes[b] != emu->row_bytes[sum])
        return "the second factor's rows are not as long as the sum's";
    return (emu->is_set & all) == all ? NULL : "what was never loaded is multiplied";
}

static int32_t tile_emu_quad(const uint8_t *a, const uint8_t *b, int a_signed, int b_signed)
{
    int32_t sum = 0;

    for (int i = 0; i < 4; i++)
        sum += (a_signed ? (int8_t)a[i] : a[i]) * (b_signed ? (int8_t)b[i] : b[i]);
    return sum;
}

const char *tile_emu_dot(struct tile_emu *emu, int sum, int a, int b, int a_signed, int b_signed)
{
    const char *fault = NULL;
    const int tiles[] = {sum, a, b};

    for (int i = 0; i < 3 && !fault; i++)
        fault = tile_emu_check(emu, tiles[i]);
    fault = fault ? fault : tile_emu_check_dot(emu, sum, a, b);
    if (fault)
        return fault;
    for (int m = 0; m < emu->n_rows[sum]; m++) {
        uint32_t row[BYTES_MAX / 4]; /* wraps, as in hardware */
        memcpy(row, emu->data[sum][m], sizeof(row));
        for (int k = 0; k < emu->n_rows[b]; k++)
            for (int n = 0; n < emu->row_bytes[b] / 4; n++)
                row[n] += (uint32_t)tile_emu_quad(&emu->data[a][m][4 * k], &emu->data[b][k][4 * n], a_signed,
                                                  b_signed);
        memcpy(emu->data[sum][m], row, sizeof(row));
    }
    return NULL;
}
