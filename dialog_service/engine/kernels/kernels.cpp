// What a decoding step needs of a processor with AVX-512 and its instructions for eight-bit
// integers, with matrix units where it has them. Compiled when first needed; see build.py.
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,amx-tile,amx-int8,fma")

#include "cells.h"
#include "rows.h"
#include "tiles.h"
#include "words.h"

extern "C" {

// Whether the system gives a program the room that matrix units need.
int allow_tiles() { return tiles::allow(); }

void advance_cells(const cells::Call* call) { cells::advance(*call); }

void multiply_rows(const rows::Call* call) { rows::multiply(*call); }

void choose_words(const words::Call* call) { words::choose(*call); }

}  // extern "C"
