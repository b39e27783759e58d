/* planted.h - the faults of planted.cu. */
#pragma once

enum planted_fault {
    PLANTED_NOTHING,
    PLANTED_NOTHING_MMA,
    PLANTED_NO_BARRIER,
    PLANTED_NO_SECOND_BARRIER,    /* the next tile is written while the last is read */
    PLANTED_SHUFFLE_FOR_SYNCWARP, /* right in every order here, and a race all the same */
    PLANTED_BLOCK_RACE,           /* both blocks write the same row */
    PLANTED_NO_WAIT,
    PLANTED_WEAK_WAIT, /* leaves one group under way too many */
    PLANTED_WRONG_LANE,
    PLANTED_LANE_NOT_IN_MASK,
    PLANTED_WRONG_FRAGMENT,
    PLANTED_PAST_SHARED,
    PLANTED_PAST_GLOBAL,
    PLANTED_NEVER_WRITTEN,
    PLANTED_HALF_WARP,
    PLANTED_TWO_PARTNERS, /* lanes 1 and 2 wait for each other, in masks that differ */
    PLANTED_LANE_ENDED,
    PLANTED_LANE_AT_BARRIER,
    PLANTED_TWO_BARRIERS,
    PLANTED_FEW_AT_BARRIER,
    PLANTED_NO_PDL_WAIT,
    PLANTED_COPY_MISALIGNED, /* from here on planted_limits() */
    PLANTED_COPY_NOT_TO_SHARED,
    PLANTED_MANY_COPIES,
    PLANTED_LDMATRIX_MISALIGNED,
    PLANTED_LDMATRIX_PAST_END,
    PLANTED_TOO_MUCH_SHARED,
    PLANTED_SHORT_WARP,
    PLANTED_BARRIER_OF_ODD_SIZE,
    PLANTED_WIDTH_NO_POWER,
    PLANTED_N_FAULTS,
};
