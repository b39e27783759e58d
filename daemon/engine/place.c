/* place.c - where the table of embeddings goes.  See place.h. */
#include "place.h"

#include <stdio.h>
#include <string.h>

static bool place_wants(const struct place *place, const char *word)
{
    return place->wanted && !strcmp(place->wanted, word);
}

bool place_is_auto(const struct place *place)
{
    return !place->wanted || !*place->wanted || place_wants(place, "auto");
}

static uint64_t place_main_bytes(const struct place *place)
{
    return place->size.table_bytes * (uint64_t)place->host_copies;
}

static int place_check_host(const struct place *place, struct fault *fault)
{
    if (!place->size.table_bytes)
        return fault_set(fault, PLACE_E_CANNOT,
                         "embedding is host, but token_embd.weight is the head too and stays on the device");
    if (!place->host_copies)
        return fault_set(
            fault, PLACE_E_CANNOT,
            "embedding is host, but the device does not read the table's %llu MiB from main memory: %s",
            (unsigned long long)(place->size.table_bytes >> 20), place->no_host);
    if (place->main_bytes < place_main_bytes(place))
        return fault_set(fault, PLACE_E_CANNOT,
                         "embedding is host, which takes %llu MiB of main memory, %llu MiB are free",
                         (unsigned long long)(place_main_bytes(place) >> 20),
                         (unsigned long long)(place->main_bytes >> 20));
    return PLACE_OK;
}

static bool place_is_better_apart(const struct place *place)
{
    return place->size.table_bytes && place->host_copies &&
           place->size.all_bytes + place->need_bytes > place->free_bytes &&
           place->main_bytes >= place_main_bytes(place);
}

int place_choose(struct place *place, struct fault *fault)
{
    int r = PLACE_OK;

    if (place_is_auto(place)) {
        place->table = place_is_better_apart(place) ? WEIGHTS_TABLE_HOST : WEIGHTS_TABLE_WITH_ALL;
    } else if (place_wants(place, "device")) {
        place->table = WEIGHTS_TABLE_WITH_ALL;
    } else if (place_wants(place, "host")) {
        r = place_check_host(place, fault);
        place->table = WEIGHTS_TABLE_HOST;
    } else {
        r = fault_set(fault, PLACE_E_CANNOT, "embedding is '%s', should be auto, device or host",
                      place->wanted);
    }
    return r;
}

void place_describe(const struct place *place, char *text, size_t n)
{
    const unsigned long long need = place->need_bytes >> 20, all = place->size.all_bytes >> 20,
                             rest = place->size.rest_bytes >> 20, left = place->free_bytes >> 20;

    if (place->size.table_bytes)
        snprintf(
            text, n,
            " (weights take %llu MiB, or %llu with the table of embeddings in main memory, what was asked "
            "for %llu more; %llu are free)",
            all, rest, need, left);
    else
        snprintf(text, n, " (weights take %llu MiB, what was asked for %llu more; %llu are free)", all, need,
                 left);
}
