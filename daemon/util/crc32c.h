/* crc32c.h - CRC-32C (Castagnoli), for what may have been written only in part. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Of n more bytes; crc 0 to begin with. */
uint32_t crc32c(uint32_t crc, const void *data, size_t n);
