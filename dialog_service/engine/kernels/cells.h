// One step of a gated recurrent layer for N rows: the product of the state, and the gates while
// their shares are still in registers.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "gates.h"
#include "numbers.h"
#include "products.h"

namespace cells {

using products::kBlock;
using products::kRows;
using products::kTile;

// The weights' outputs are laid out in blocks of sixteen units: their shares of the first gate, of
// the second, and so on; what is left of a block is nothing.
struct Call {
  products::Weights weights;
  int64_t has_tiles;
  int64_t threads;
  int64_t kind;
  int64_t rows;
  int64_t units;
  // What a row is given, gates x units as the layer orders its gates: a share of its own and its
  // word's row of a table, either of which may be null.
  const float* share;
  const float* table;
  const int64_t* words;
  const float* hidden;  // (rows, units)
  const float* cell;    // the same; of a GRU none
  uint8_t* levels;      // room for rows up to a multiple of 16 with the weights' inputs
  float* largest;       // room for rows
  float* next_hidden;
  float* next_cell;

  int64_t gates() const { return kind == gates::kLstm ? 4 : 3; }
};

inline __m512 loaded(__mmask16 lanes, const float* from, int64_t place) {
  return from ? _mm512_maskz_loadu_ps(lanes, from + place) : _mm512_setzero_ps();
}

// Sixteen units of a row.
inline void advance(const Call& call, const int32_t* sums, int64_t row, int64_t block) {
  const bool is_lstm = call.kind == gates::kLstm;
  const int64_t first = block * kTile, width = call.gates() * call.units;
  const __mmask16 lanes = numbers::first_lanes(call.units - first);
  const float* share = call.share ? call.share + row * width + first : nullptr;
  const float* word = call.table ? call.table + call.words[row] * width + first : nullptr;
  const __m512 largest = _mm512_set1_ps(call.largest[row]);
  __m512 given[gates::kSlots], kept[gates::kSlots];
  for (int64_t gate = 0; gate < call.gates(); ++gate) {
    given[gate] = _mm512_add_ps(loaded(lanes, share, gate * call.units),
                                loaded(lanes, word, gate * call.units));
    kept[gate] = products::outputs_of(call.weights, sums + gate * kTile,
                                      block * kBlock + gate * kTile, largest);
  }
  const __m512 candidate = is_lstm ? _mm512_add_ps(given[2], kept[2]) : given[2];
  const __m512 last = is_lstm ? _mm512_add_ps(given[3], kept[3]) : kept[2];
  const int64_t place = row * call.units + first;
  gates::Units at{{_mm512_add_ps(given[0], kept[0]), _mm512_add_ps(given[1], kept[1]), candidate,
                   last},
                  _mm512_maskz_loadu_ps(lanes, (is_lstm ? call.cell : call.hidden) + place)};
  const gates::State after = gates::advance(call.kind, at);
  _mm512_mask_storeu_ps(call.next_hidden + place, lanes, after.hidden);
  if (is_lstm) _mm512_mask_storeu_ps(call.next_cell + place, lanes, after.kept);
}

// A part of the units of a few rows: what these are given lies together, and is read in order.
inline void advance(const Call& call, int64_t row, int64_t first, int64_t last) {
  const int64_t count = std::min(call.rows - row, kRows);
  for (int64_t block = first; block < last; ++block)
    products::multiply(
        call.weights, call.levels + row * call.weights.inputs, count, block * kBlock,
        call.has_tiles,
        [&](const int32_t* sums, int64_t i) { advance(call, sums, row + i, block); });
}

inline void advance(const Call& call) {
  const int64_t blocks = call.weights.outputs / kBlock, parts = 2 * call.threads;
#pragma omp parallel num_threads(int(call.threads))
  {
    products::quantise(call.weights, call.hidden, call.rows, call.units, call.levels, call.largest);
    const tiles::Tiles used(call.has_tiles);
// A thread that something else keeps from its core holds up the others by one piece at most.
#pragma omp for schedule(dynamic, 1) collapse(2)
    for (int64_t row = 0; row < call.rows; row += kRows)
      for (int64_t part = 0; part < parts; ++part)
        advance(call, row, blocks * part / parts, blocks * (part + 1) / parts);
  }
}

}  // namespace cells
