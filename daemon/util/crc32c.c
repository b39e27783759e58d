/* crc32c.c - eight bytes at a time from eight tables ("slicing by 8").  See crc32c.h.  Polynomial: RFC 3720,
 * appendix B.4, reflected. */
#include "crc32c.h"

#include <stdbool.h>
#include <string.h>

enum { CRC32C_SLICES = 8 };
#define CRC32C_POLYNOMIAL 0x82f63b78u

static uint32_t crc32c_tables[CRC32C_SLICES][256];

static void crc32c_fill(void)
{
    static bool filled;

    if (filled)
        return;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;

        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? CRC32C_POLYNOMIAL : 0);
        crc32c_tables[0][i] = crc;
    }
    for (int slice = 1; slice < CRC32C_SLICES; slice++)
        for (int i = 0; i < 256; i++) {
            const uint32_t before = crc32c_tables[slice - 1][i];

            crc32c_tables[slice][i] = before >> 8 ^ crc32c_tables[0][before & 0xff];
        }
    filled = true;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t n)
{
    const uint8_t *p = data;

    crc32c_fill();
    crc = ~crc;
    for (; n >= 8; n -= 8, p += 8) {
        uint32_t lo, hi;

        memcpy(&lo, p, sizeof(lo)); /* little-endian, as all of the tree */
        memcpy(&hi, p + 4, sizeof(hi));
        lo ^= crc;
        crc = crc32c_tables[7][lo & 0xff] ^ crc32c_tables[6][lo >> 8 & 0xff] ^
              crc32c_tables[5][lo >> 16 & 0xff] ^ crc32c_tables[4][lo >> 24] ^ crc32c_tables[3][hi & 0xff] ^
              crc32c_tables[2][hi >> 8 & 0xff] ^ crc32c_tables[1][hi >> 16 & 0xff] ^
              crc32c_tables[0][hi >> 24];
    }
    for (; n; n--, p++)
        crc = crc >> 8 ^ crc32c_tables[0][(crc ^ *p) & 0xff];
    return ~crc;
}
