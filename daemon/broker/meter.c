/* meter.c - a ring of quarter seconds.  See meter.h. */
#include "meter.h"

#define METER_SLOT_NS (METER_SLOT_MS * 1000000ull)

/* Moves on to the slot of a time; what is older than the ring falls out. */
static void meter_turn(struct meter *meter, uint64_t slot)
{
    if (slot >= meter->slot + METER_SLOTS)
        meter->slot = slot - METER_SLOTS;
    while (meter->slot < slot)
        meter->n[++meter->slot % METER_SLOTS] = 0;
}

static void meter_put(struct meter *meter, uint64_t slot, uint32_t n)
{
    if (slot > meter->slot)
        meter_turn(meter, slot);
    if (slot + METER_SLOTS > meter->slot)
        meter->n[slot % METER_SLOTS] += n;
}

void meter_add(struct meter *meter, uint64_t at_ns, uint32_t n)
{
    if (meter->first_ns) {
        meter_put(meter, at_ns / METER_SLOT_NS, n);
        return;
    }
    *meter = (struct meter){.first_ns = MAX(at_ns, 1ull), .slot = at_ns / METER_SLOT_NS};
}

void meter_add_span(struct meter *meter, uint64_t from_ns, uint64_t to_ns, uint32_t n)
{
    const uint64_t first = from_ns / METER_SLOT_NS, last = MAX(from_ns, to_ns) / METER_SLOT_NS;
    const uint64_t n_slots = last - first + 1;

    /* Of those before the ring nothing would be left. */
    for (uint64_t slot = MAX(first, last - MIN(last, (uint64_t)METER_SLOTS - 1)); slot <= last; slot++) {
        const uint64_t done = slot - first;

        meter_put(meter, slot, (uint32_t)(n * (done + 1) / n_slots - n * done / n_slots));
    }
}

double meter_rate(const struct meter *meter, uint64_t now_ns)
{
    const uint64_t now = now_ns / METER_SLOT_NS, oldest = now - MIN(now, (uint64_t)METER_SLOTS - 1);
    const uint64_t from_ns = MAX(oldest * METER_SLOT_NS, meter->first_ns);
    uint64_t n = 0;

    if (!meter->first_ns)
        return 0;
    for (uint64_t slot = oldest; slot <= meter->slot; slot++)
        if (slot + METER_SLOTS > meter->slot)
            n += meter->n[slot % METER_SLOTS];
    /* Over less than a slot it would say more than it knows. */
    return n ? (double)n * 1e9 / (double)MAX(now_ns - MIN(from_ns, now_ns), METER_SLOT_NS) : 0;
}
