/* test_spill_index.c - headers of spilled checkpoints, and which of them stay; see spill_file.h,
 * spill_index.h. */
#include "daemon/engine/spill_index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/engine/xxh64.h"

enum { MIB = 1 << 20, LEN_MAX = 1024 };

static const struct spill_shape shape = {.key = {1, 2, 3}, .page_bytes = 4096, .state_bytes = 10000};
static const struct spill_header header = {.id = 7,
                                           .parent = 3,
                                           .uid = 1000,
                                           .n_base = 100,
                                           .n_tok = 300,
                                           .ids_sum = 1,
                                           .pages_sum = 2,
                                           .state_sum = 3};

/* headers */

static int read_header(const uint8_t *data, size_t n, uint64_t bytes, struct spill_header *ret,
                       struct fault *fault)
{
    *fault = (struct fault){0};
    return spill_header_read(&shape, data, n, bytes, ret, fault);
}

static void test_header_is_read_as_it_was_put(void **state _unused_)
{
    const uint64_t bytes = 128 + 4 * 300 + 4 * 4096 + 10000; /* pages 1 to 4 */
    uint8_t data[SPILL_HEADER_BYTES], again[SPILL_HEADER_BYTES];
    struct spill_header got;
    struct fault fault;

    spill_header_put(&shape, &header, data);
    assert_int_equal(spill_file_bytes(&shape, &header), bytes);
    assert_int_equal(read_header(data, sizeof(data), bytes, &got, &fault), SPILL_OK);
    assert_true(got.id == 7 && got.parent == 3 && got.uid == 1000 && got.n_base == 100 && got.n_tok == 300);
    assert_true(got.ids_sum == 1 && got.pages_sum == 2 && got.state_sum == 3);
    spill_header_put(&shape, &got, again);
    assert_memory_equal(again, data, sizeof(data));
}

static void test_header_with_any_bit_changed_is_refused(void **state _unused_)
{
    uint8_t data[SPILL_HEADER_BYTES];
    struct spill_header got;
    struct fault fault;

    spill_header_put(&shape, &header, data);
    for (size_t i = 0; i < sizeof(data) * 8; i++) {
        data[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_int_equal(read_header(data, sizeof(data), spill_file_bytes(&shape, &header), &got, &fault),
                         SPILL_E_BAD);
        assert_true(*fault.text);
        data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
}

static void check_refused(struct spill_header h, int r, const char *text)
{
    uint8_t data[SPILL_HEADER_BYTES];
    struct spill_header got;
    struct fault fault;

    spill_header_put(&shape, &h, data);
    assert_int_equal(read_header(data, sizeof(data), spill_file_bytes(&shape, &h), &got, &fault), r);
    if (!strstr(fault.text, text))
        fail_msg("'%s' has no '%s'", fault.text, text);
}

static void test_header_that_cannot_be_is_refused_with_numbers(void **state _unused_)
{
    uint8_t data[SPILL_HEADER_BYTES];
    struct spill_header h = header, got;
    struct spill_shape other = shape;
    struct fault fault;

    h.n_tok = 0;
    h.n_base = 0;
    check_refused(h, SPILL_E_BAD, "tokens 0 to 0");
    h = header;
    h.n_tok = SPILL_TOK_MAX + 1;
    check_refused(h, SPILL_E_BAD, "1048577");
    h = header;
    h.n_base = 300;
    check_refused(h, SPILL_E_BAD, "tokens 300 to 300");
    h = header;
    h.parent = 7; /* itself */
    check_refused(h, SPILL_E_BAD, "number 7 goes on behind number 7");
    h.parent = 0;
    check_refused(h, SPILL_E_BAD, "behind number 0 at token 100");
    h = header;
    h.id = 0;
    check_refused(h, SPILL_E_BAD, "number 0");
    h.id = UINT64_MAX;
    check_refused(h, SPILL_E_BAD, "number 18446744073709551615");
    spill_header_put(&shape, &header, data);
    assert_int_equal(read_header(data, sizeof(data), 12345, &got, &fault), SPILL_E_BAD);
    assert_non_null(strstr(fault.text, "12345 bytes, should be 27712"));
    assert_int_equal(read_header(data, 127, 127, &got, &fault), SPILL_E_BAD);
    assert_non_null(strstr(fault.text, "127 bytes"));
    other.key[31] ^= 1;
    spill_header_put(&other, &header, data);
    assert_int_equal(read_header(data, sizeof(data), 27712, &got, &fault), SPILL_E_OTHER);
}

static void test_name_is_only_what_was_made(void **state _unused_)
{
    static const char *const bad[] = {
        "",     "1000", "1000-", "-5",           "01-5", "1-05",   "1-5x",  "+1-5",
        " 1-5", "1-5 ", "1--5",  "4294967296-5", "new",  "../1-5", "1/2-5", "1-99999999999999999999"};
    char name[SPILL_NAME_BYTES];
    uint32_t uid;
    uint64_t id;

    spill_name_put(UINT32_MAX, UINT64_MAX, name);
    assert_true(spill_name_read(name, &uid, &id));
    assert_true(uid == UINT32_MAX && id == UINT64_MAX);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (spill_name_read(bad[i], &uid, &id))
            fail_msg("'%s' was taken for uid %u, number %llu", bad[i], uid, (unsigned long long)id);
}

/* the index */

static struct spill_index *new_index(uint64_t max_bytes)
{
    struct spill_index *index;

    assert_int_equal(spill_index_new(max_bytes, &index), 0);
    return index;
}

static uint64_t sum_of(const int32_t *ids, int n)
{
    struct xxh64 x;

    xxh64_init(&x);
    xxh64_put(&x, ids, (size_t)n * sizeof(*ids));
    return xxh64_sum(&x);
}

static int add(struct spill_index *index, uint64_t id, uint64_t parent, uint32_t uid, const int32_t *ids,
               int n_base, int n_tok)
{
    const struct spill_entry entry = {.id = id,
                                      .parent = parent,
                                      .ids_sum = sum_of(ids, n_tok),
                                      .bytes = MIB,
                                      .used_ns = id * 1000000000,
                                      .uid = uid,
                                      .n_base = n_base,
                                      .n_tok = n_tok};

    return spill_index_add(index, &entry);
}

static void fill(int32_t *ids, uint32_t seed)
{
    for (uint32_t i = 0; i < LEN_MAX; i++)
        ids[i] = (int32_t)((seed * 7919 + i) * 2654435761u >> 12);
}

static uint64_t match(struct spill_index *index, uint32_t uid, const int32_t *ids, int n)
{
    const struct spill_entry *e = spill_index_match(index, uid, ids, n);

    return e ? e->id : 0;
}

static void test_index_finds_the_longest_beginning_of_the_uid(void **state _unused_)
{
    struct spill_index *index = new_index(100 * MIB);
    int32_t a[LEN_MAX], b[LEN_MAX];

    fill(a, 1);
    fill(b, 1);
    b[250]++;
    assert_int_equal(add(index, 1, 0, 1000, a, 0, 200), SPILL_OK);
    assert_int_equal(add(index, 2, 1, 1000, a, 200, 500), SPILL_OK);
    assert_int_equal(add(index, 3, 1, 1000, b, 200, 400), SPILL_OK);
    assert_int_equal(add(index, 4, 0, 1001, a, 0, 600), SPILL_OK);
    assert_int_equal(match(index, 1000, a, LEN_MAX), 2);
    assert_int_equal(match(index, 1000, a, 500), 2);
    assert_int_equal(match(index, 1000, a, 499), 1);
    assert_int_equal(match(index, 1000, a, 199), 0);
    assert_int_equal(match(index, 1000, b, LEN_MAX), 3);
    assert_int_equal(match(index, 1001, a, LEN_MAX), 4);
    assert_int_equal(match(index, 1001, a, 500), 0);
    assert_int_equal(match(index, 0, a, LEN_MAX), 0);
    a[199]++;
    assert_int_equal(match(index, 1000, a, LEN_MAX), 0);
    free(index);
}

static void test_index_takes_no_orphan_and_no_twin(void **state _unused_)
{
    struct spill_index *index = new_index(100 * MIB);
    int32_t ids[LEN_MAX];

    fill(ids, 2);
    assert_int_equal(add(index, 1, 0, 1000, ids, 0, 200), SPILL_OK);
    assert_int_equal(add(index, 1, 0, 1000, ids, 0, 300), SPILL_E_TWICE);
    assert_int_equal(add(index, 2, 9, 1000, ids, 200, 300), SPILL_E_ORPHAN);
    assert_int_equal(add(index, 2, 1, 1001, ids, 200, 300), SPILL_E_ORPHAN); /* somebody else's */
    assert_int_equal(add(index, 2, 1, 1000, ids, 199, 300), SPILL_E_ORPHAN);
    for (int i = 2; i <= SPILL_DEPTH_MAX; i++)
        assert_int_equal(add(index, (uint64_t)i, (uint64_t)i - 1, 1000, ids, 198 + i, 199 + i), SPILL_OK);
    assert_int_equal(add(index, 100, SPILL_DEPTH_MAX, 1000, ids, 199 + SPILL_DEPTH_MAX, 400), SPILL_E_ORPHAN);
    assert_int_equal(spill_index_find(index, SPILL_DEPTH_MAX)->depth, SPILL_DEPTH_MAX);
    assert_int_equal(spill_index_last_behind(index, 1)->id, SPILL_DEPTH_MAX);
    free(index);
}

static void test_index_is_full_at_its_number_of_files(void **state _unused_)
{
    struct spill_index *index = new_index(UINT64_MAX);
    int32_t ids[LEN_MAX];
    bool fits;

    fill(ids, 3);
    for (uint64_t i = 1; i <= SPILL_FILES_MAX; i++)
        assert_int_equal(add(index, i, 0, (uint32_t)i % 7, ids, 0, (int)(i % LEN_MAX) + 1), SPILL_OK);
    assert_int_equal(add(index, SPILL_FILES_MAX + 1, 0, 1, ids, 0, 9), SPILL_E_FULL);
    assert_non_null(spill_index_victim(index, 1, MIB, SPILL_FILES_MAX, 0, UINT64_MAX, &fits));
    assert_false(fits);
    free(index);
}

/* Gives up until it fits; the ids in order. */
static int make_room(struct spill_index *index, uint32_t uid, uint64_t bytes, uint64_t spare, uint64_t keep,
                     uint64_t *ret_ids, bool *ret_fits)
{
    const struct spill_entry *victim;
    int n = 0;

    while ((victim = spill_index_victim(index, uid, bytes, 1000000000000, spare, keep, ret_fits))) {
        ret_ids[n++] = victim->id;
        spill_index_remove(index, victim->id);
    }
    return n;
}

static void test_index_gives_up_the_largest_users_least(void **state _unused_)
{
    struct spill_index *index = new_index(6 * MIB);
    int32_t a[LEN_MAX], b[LEN_MAX];
    uint64_t gone[8];
    bool fits;

    fill(a, 4);
    fill(b, 5);
    assert_int_equal(add(index, 1, 0, 1000, a, 0, 200), SPILL_OK); /* old, but others go on behind it */
    assert_int_equal(add(index, 2, 1, 1000, a, 200, 300), SPILL_OK);
    assert_int_equal(add(index, 3, 1, 1000, a, 200, 500), SPILL_OK);
    assert_int_equal(add(index, 4, 0, 1000, b, 0, 900), SPILL_OK);
    assert_int_equal(add(index, 5, 0, 1001, a, 0, 33), SPILL_OK); /* of least value, but of who has little */
    assert_int_equal(make_room(index, 1001, MIB, 0, UINT64_MAX, gone, &fits), 0);
    assert_true(fits);
    assert_int_equal(make_room(index, 1001, 2 * MIB, 0, UINT64_MAX, gone, &fits), 1);
    assert_true(fits);
    assert_int_equal(gone[0], 2);
    /* who would hold the most gives way, also if it is who asks; never what it goes on behind */
    assert_int_equal(make_room(index, 1001, 5 * MIB, 5, UINT64_MAX, gone, &fits), 0);
    assert_false(fits);
    /* nor what was written since */
    assert_int_equal(make_room(index, 1000, 3 * MIB, 0, 3, gone, &fits), 0);
    assert_false(fits);
    assert_int_equal(make_room(index, 1000, 5 * MIB, 0, UINT64_MAX, gone, &fits), 3);
    assert_true(fits);
    assert_int_equal(make_room(index, 1000, 7 * MIB, 0, UINT64_MAX, gone, &fits), 0); /* not in vain */
    assert_false(fits);
    assert_int_equal(index->n, 1);
    assert_int_equal(index->bytes, MIB);
    free(index);
}

static void test_index_tells_what_was_used_last(void **state _unused_)
{
    struct spill_index *index = new_index(16 * MIB);
    static const uint64_t used[] = {7, 7, 9, 3},
                          order[] = {4, 3, 5}; /* 2 has one behind it; a draw goes by the id */
    struct spill_entry *e;
    uint64_t at_ns = UINT64_MAX, at_id = UINT64_MAX;
    int32_t a[LEN_MAX];

    fill(a, 6);
    for (uint64_t i = 0; i < ARRAY_SIZE(used); i++) {
        assert_int_equal(add(index, i + 2, i == 1 ? 2 : 0, 1000, a, i == 1 ? 100 : 0, 100 + 50 * (int)i),
                         SPILL_OK);
        spill_index_find(index, i + 2)->used_ns = used[i];
    }
    for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
        e = spill_index_leaf_before(index, at_ns, at_id);
        assert_non_null(e);
        assert_int_equal(e->id, order[i]);
        at_ns = e->used_ns;
        at_id = e->id;
    }
    assert_null(spill_index_leaf_before(index, at_ns, at_id));
    spill_index_find(index, 4)->used_ns = 7;
    assert_int_equal(spill_index_leaf_before(index, 7, 4)->id, 3);
    free(index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_is_read_as_it_was_put),
        cmocka_unit_test(test_header_with_any_bit_changed_is_refused),
        cmocka_unit_test(test_header_that_cannot_be_is_refused_with_numbers),
        cmocka_unit_test(test_name_is_only_what_was_made),
        cmocka_unit_test(test_index_finds_the_longest_beginning_of_the_uid),
        cmocka_unit_test(test_index_takes_no_orphan_and_no_twin),
        cmocka_unit_test(test_index_is_full_at_its_number_of_files),
        cmocka_unit_test(test_index_gives_up_the_largest_users_least),
        cmocka_unit_test(test_index_tells_what_was_used_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
