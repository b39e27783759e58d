/* fuzz_ledger.c - the journal's file, as it might be found at a start: any bytes.  What is read can be read
 * again, written behind and compacted, and that is the same. */
#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "daemon/broker/ledger.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The input stands behind a head that is right, or is all of the file if it begins with '*'. */
static int fuzz_file(const uint8_t *data, size_t n)
{
    const uint64_t numbers[] = {7, LEDGER_GROW_BYTES};
    uint8_t head[LEDGER_FILE_HEAD_BYTES] = "QWLEDG1\n";
    int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert(fd >= 0);
    memcpy(head + 8, numbers, sizeof(numbers));
    if (!n || data[0] != '*')
        assert(write(fd, head, sizeof(head)) == sizeof(head));
    else
        data++, n--;
    assert(write(fd, data, n) == (ssize_t)n);
    assert(!fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
    return fd;
}

static uint64_t fuzz_sum(const struct ledger *ledger, bool living)
{
    struct ledger_record record;
    uint64_t sum = 0;
    size_t at = 0;

    while (ledger_next(ledger, &at, &record)) {
        assert(record.payload + record.n_bytes <= ledger->map + ledger->used_bytes);
        if (living && !ledger_is_live(ledger, &record))
            continue;
        sum = sum * 31 + record.key + record.type;
        for (uint32_t i = 0; i < record.n_bytes; i++)
            sum = sum * 31 + record.payload[i];
    }
    assert(at <= ledger->used_bytes || ledger->used_bytes == LEDGER_FILE_HEAD_BYTES);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct ledger ledger, other;
    struct fault fault = {};
    int r, fd = fuzz_file(data, n);

    r = ledger_adopt(&fd, &ledger, &fault);
    assert(r >= 0 && !r == !*fault.text);
    if (r == LEDGER_E_BAD) {
        close(fd);
        return 0;
    }
    assert(ledger.live_bytes <= ledger.used_bytes && ledger.used_bytes <= ledger.size_bytes);
    if (!ledger_compact(&ledger, ledger.cap_bytes, &other)) {
        assert(other.live_bytes == ledger.live_bytes && fuzz_sum(&other, false) == fuzz_sum(&ledger, true));
        ledger_deinit(&other);
    }
    if (!ledger_put(&ledger, 1, 2, data, MIN(n, (size_t)64))) {
        fd = fcntl(ledger.fd, F_DUPFD_CLOEXEC, 0);
        assert(!ledger_adopt(&fd, &other, &fault) && fuzz_sum(&other, false) == fuzz_sum(&ledger, false));
        ledger_deinit(&other);
    }
    ledger_deinit(&ledger);
    return 0;
}
