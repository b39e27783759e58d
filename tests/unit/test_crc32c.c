/* test_crc32c.c - known answers (RFC 3720, B.4), and that it does not matter how the bytes come. */
#include "daemon/util/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void check(const void *data, size_t n, uint32_t want)
{
    for (size_t cut = 0; cut <= n; cut++) {
        const uint32_t got = crc32c(crc32c(0, data, cut), (const uint8_t *)data + cut, n - cut);

        if (got != want)
            fail_msg("%zu bytes cut at %zu: %08x, expected %08x", n, cut, got, want);
    }
}

static void test_crc32c_known_answers(void **state)
{
    uint8_t data[32];

    check("123456789", 9, 0xe3069283);
    check("", 0, 0);
    memset(data, 0, sizeof(data));
    check(data, sizeof(data), 0x8a9136aa);
    memset(data, 0xff, sizeof(data));
    check(data, sizeof(data), 0x62a8ab43);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)i;
    check(data, sizeof(data), 0x46dd794e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_crc32c_known_answers)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
