/* test_engine_place.c - on which side the table of embeddings goes, by figures that were added up by hand: a
 * 9B in Q4_K_M on a card of 8 GB, of which 1.97 GiB are free beside all of its weights. */
#include "daemon/engine/place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MIB (1ull << 20)

/* 5356 MiB of weights, 545 of them the table; 7373 MiB of the card are to be had. */
static struct place place_of(const char *wanted, uint64_t need_mib)
{
    return (struct place){.wanted = wanted,
                          .size = {5356 * MIB, 4811 * MIB, 545 * MIB},
                          .need_bytes = need_mib * MIB,
                          .free_bytes = 7373 * MIB,
                          .main_bytes = 16384 * MIB,
                          .host_copies = 2,
                          .no_host = "CUDA: operation not supported"};
}

static void check_chosen(struct place place, enum weights_table table)
{
    struct fault fault = {0};

    assert_int_equal(place_choose(&place, &fault), PLACE_OK);
    assert_int_equal(place.table, table);
}

static void check_refused(struct place place, const char *text)
{
    struct fault fault = {0};

    assert_int_equal(place_choose(&place, &fault), PLACE_E_CANNOT);
    assert_string_equal(fault.text, text);
}

static void test_place_is_the_device_while_all_fits(void **state)
{
    check_chosen(place_of(NULL, 2017), WEIGHTS_TABLE_WITH_ALL); /* 5356 + 2017 = 7373 */
    check_chosen(place_of("", 2018), WEIGHTS_TABLE_HOST);
    check_chosen(place_of("auto", 2562), WEIGHTS_TABLE_HOST); /* 4811 + 2562 = 7373 */
    /* it fits on neither side: what can be had is less short with it there */
    check_chosen(place_of("auto", 2563), WEIGHTS_TABLE_HOST);
}

static void test_place_needs_main_memory_that_a_driver_pins(void **state)
{
    struct place place = place_of("auto", 2018);

    place.main_bytes = 1090 * MIB; /* 545, twice */
    check_chosen(place, WEIGHTS_TABLE_HOST);
    place.main_bytes--;
    check_chosen(place, WEIGHTS_TABLE_WITH_ALL);
    place.host_copies = 1;
    check_chosen(place, WEIGHTS_TABLE_HOST);
    place.host_copies = 0;
    check_chosen(place, WEIGHTS_TABLE_WITH_ALL);
    place = place_of("auto", 2018);
    place.size.table_bytes = 0; /* it is the head too */
    check_chosen(place, WEIGHTS_TABLE_WITH_ALL);
}

static void test_place_is_what_was_asked_for_or_refused(void **state)
{
    struct place place = place_of("host", 0);

    check_chosen(place, WEIGHTS_TABLE_HOST);
    check_chosen(place_of("device", 9999), WEIGHTS_TABLE_WITH_ALL);
    place.main_bytes = 1000 * MIB;
    check_refused(place, "embedding is host, which takes 1090 MiB of main memory, 1000 MiB are free");
    place.host_copies = 0;
    check_refused(place,
                  "embedding is host, but the device does not read the table's 545 MiB from main memory: "
                  "CUDA: operation not supported");
    place.size.table_bytes = 0;
    check_refused(place, "embedding is host, but token_embd.weight is the head too and stays on the device");
    check_refused(place_of("gpu", 0), "embedding is 'gpu', should be auto, device or host");
}

static void test_place_describes_both_sides(void **state)
{
    struct place place = place_of("auto", 3000);
    char text[200];

    place_describe(&place, text, sizeof(text));
    assert_string_equal(
        text, " (weights take 5356 MiB, or 4811 with the table of embeddings in main memory, what was "
              "asked for 3000 more; 7373 are free)");
    place.size.table_bytes = 0;
    place_describe(&place, text, sizeof(text));
    assert_string_equal(text, " (weights take 5356 MiB, what was asked for 3000 more; 7373 are free)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_place_is_the_device_while_all_fits),
        cmocka_unit_test(test_place_needs_main_memory_that_a_driver_pins),
        cmocka_unit_test(test_place_is_what_was_asked_for_or_refused),
        cmocka_unit_test(test_place_describes_both_sides),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
