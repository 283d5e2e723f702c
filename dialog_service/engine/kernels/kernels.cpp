// What a decoding step needs of a processor with AVX-512 and its instructions for eight-bit
// integers, with matrix units where it has them. Compiled when first needed; see build.py.
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,amx-tile,amx-int8,fma")

#include <sys/syscall.h>
#include <unistd.h>

#include "cells.h"
#include "rows.h"
#include "words.h"

extern "C" {

// Ask the system for the room that matrix units need; whether it was given.
int allow_tiles() {
  constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

void advance_cells(const cells::Call* call) { cells::advance(*call); }

void multiply_rows(const rows::Call* call) { rows::multiply(*call); }

void choose_words(const words::Call* call) { words::choose(*call); }

}  // extern "C"
