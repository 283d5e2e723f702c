// One step of a gated recurrent layer for N rows: the product of the state, and the gates while
// their shares are still in registers.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "numbers.h"
#include "products.h"

namespace cells {

using products::kBlock;
using products::kRows;
using products::kTile;

enum Kind : int64_t { kLstm = 0, kGru = 1 };

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

  int64_t gates() const { return kind == kLstm ? 4 : 3; }
};

// Sixteen units of a row.
struct Units {
  int64_t row;
  int64_t first;
  __mmask16 lanes;
  __m512 given[4];
  __m512 kept[4];
};

inline void advance_lstm(const Call& call, const Units& at) {
  const int64_t place = at.row * call.units + at.first;
  const __m512 entry = numbers::sigmoid(_mm512_add_ps(at.given[0], at.kept[0]));
  const __m512 forget = numbers::sigmoid(_mm512_add_ps(at.given[1], at.kept[1]));
  const __m512 candidate = numbers::tanh(_mm512_add_ps(at.given[2], at.kept[2]));
  const __m512 exit = numbers::sigmoid(_mm512_add_ps(at.given[3], at.kept[3]));
  const __m512 before = _mm512_maskz_loadu_ps(at.lanes, call.cell + place);
  const __m512 cell = _mm512_fmadd_ps(forget, before, _mm512_mul_ps(entry, candidate));
  _mm512_mask_storeu_ps(call.next_cell + place, at.lanes, cell);
  _mm512_mask_storeu_ps(call.next_hidden + place, at.lanes,
                        _mm512_mul_ps(exit, numbers::tanh(cell)));
}

inline void advance_gru(const Call& call, const Units& at) {
  const int64_t place = at.row * call.units + at.first;
  const __m512 reset = numbers::sigmoid(_mm512_add_ps(at.given[0], at.kept[0]));
  const __m512 update = numbers::sigmoid(_mm512_add_ps(at.given[1], at.kept[1]));
  const __m512 candidate = numbers::tanh(_mm512_fmadd_ps(reset, at.kept[2], at.given[2]));
  const __m512 before = _mm512_maskz_loadu_ps(at.lanes, call.hidden + place);
  _mm512_mask_storeu_ps(
      call.next_hidden + place, at.lanes,
      _mm512_fmadd_ps(update, _mm512_sub_ps(before, candidate), candidate));
}

inline __m512 loaded(__mmask16 lanes, const float* from, int64_t place) {
  return from ? _mm512_maskz_loadu_ps(lanes, from + place) : _mm512_setzero_ps();
}

inline void advance(const Call& call, const int32_t* sums, int64_t row, int64_t block) {
  const int64_t gates = call.gates();
  Units at;
  at.row = row;
  at.first = block * kTile;
  at.lanes = numbers::first_lanes(call.units - at.first);
  const int64_t width = gates * call.units;
  const float* share = call.share ? call.share + row * width + at.first : nullptr;
  const float* word = call.table ? call.table + call.words[row] * width + at.first : nullptr;
  const __m512 largest = _mm512_set1_ps(call.largest[row]);
  for (int64_t gate = 0; gate < gates; ++gate) {
    at.given[gate] = _mm512_add_ps(loaded(at.lanes, share, gate * call.units),
                                   loaded(at.lanes, word, gate * call.units));
    at.kept[gate] = products::outputs_of(call.weights, sums + gate * kTile,
                                         block * kBlock + gate * kTile, largest);
  }
  if (call.kind == kLstm)
    advance_lstm(call, at);
  else
    advance_gru(call, at);
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
  const int64_t blocks = call.weights.outputs / kBlock;
#pragma omp parallel num_threads(int(call.threads))
  {
    const int64_t threads = omp_get_num_threads(), thread = omp_get_thread_num();
    const int64_t first = blocks * thread / threads, last = blocks * (thread + 1) / threads;
    products::quantise(call.weights, call.hidden, call.rows, call.units, call.levels, call.largest);
    const tiles::Tiles used(call.has_tiles);
    for (int64_t row = 0; row < call.rows; row += kRows) advance(call, row, first, last);
  }
}

}  // namespace cells
