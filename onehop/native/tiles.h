// Products of 16 x 16 numbers at once, where the processor has a matrix unit (AMX): int8 in fours, bfloat16 in pairs.
//
// A tile of weights is sixteen groups of a vector of a panel as they lie. Of int8 the sums are whole numbers, and so
// those of any other way; of bfloat16 they are added in an order of their own, which depends on the inputs' number alone.

#pragma once

#include "vector.h"

#if defined(__AMX_INT8__) && defined(__AMX_BF16__) && LANES == 16 && defined(__linux__) && !defined(NO_AMX)
#define AMX 1
#include <sys/syscall.h>
#include <unistd.h>
#else
#define AMX 0
#endif

#if AMX
#define DEEP 16  // groups of a tile
#define HIGH 16  // rows of one
#define ROWS_OF_TWO (2 * HIGH)

static int tiles_allowed;  // the system keeps a matrix unit's registers for those only who have asked

__attribute__((constructor)) static void ask_for_tiles(void) {
    const int ask_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    tiles_allowed = !syscall(SYS_arch_prctl, ask_permission, tile_data);
}

typedef struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} TileShape;

// 0 to 3: sums, of the upper rows by the two vectors of a panel, and of the lower; 4, 5: rows; 6, 7: weights.
static void shape_tiles(int upper, int lower) {
    TileShape shape = {.palette = 1};
    for (int i = 0; i < 8; i++) shape.bytes[i] = 64;
    shape.rows[0] = shape.rows[1] = shape.rows[4] = upper;
    shape.rows[2] = shape.rows[3] = shape.rows[5] = lower ? lower : 1;
    shape.rows[6] = shape.rows[7] = DEEP;
    __asm__ volatile("ldtilecfg %0" :: "m"(shape));  // gcc 12's own call says that it reads eight of the bytes
}

#define ADD_TILES(MULTIPLY) \
    for (int64_t p = 0; p < count; p += DEEP, w += DEEP * 128) { \
        _tile_loadd(6, w, 128); \
        _tile_loadd(7, w + 64, 128); \
        _tile_loadd(4, rows + p * 4, stride); \
        MULTIPLY(0, 4, 6); \
        MULTIPLY(1, 4, 7); \
        if (!lower) continue; \
        _tile_loadd(5, rows + HIGH * stride + p * 4, stride); \
        MULTIPLY(2, 5, 6); \
        MULTIPLY(3, 5, 7); \
    }

// Sums of up to 32 rows with a panel: `count` groups, a multiple of `DEEP`, of four bytes for each row and output.
INLINE void add_tiles(int half, const char *w, int64_t count, const char *rows, int lower, int32_t *out) {
    int64_t stride = count * 4;
    __asm__ volatile("" ::: "memory");  // the rows must have been written: gcc is not told that a tile reads them
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    if (half) {
        ADD_TILES(_tile_dpbf16ps)
    } else {
        ADD_TILES(_tile_dpbusd)
    }
    _tile_stored(0, out, 128);
    _tile_stored(1, out + 16, 128);
    if (!lower) return;
    _tile_stored(2, out + HIGH * 32, 128);
    _tile_stored(3, out + HIGH * 32 + 16, 128);
}
#endif
