// A product of N rows alone.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "numbers.h"
#include "products.h"

namespace rows {

using products::kBlock;
using products::kTile;

struct Call {
  products::Weights weights;
  int64_t has_tiles;
  int64_t threads;
  int64_t rows;
  int64_t width;    // of the inputs; the weights' inputs are at least as many
  int64_t outputs;  // those that are meant; the weights' are at least as many
  const float* inputs;
  uint8_t* levels;  // room for rows up to a multiple of 16 with the weights' inputs
  float* largest;   // room for rows
  float* found;     // (rows, outputs)
};

inline void keep(const Call& call, const int32_t* sums, int64_t row, int64_t block) {
  const __m512 largest = _mm512_set1_ps(call.largest[row]);
  for (int64_t part = 0; part < kBlock; part += kTile) {
    const int64_t first = block * kBlock + part;
    if (first >= call.outputs) break;
    _mm512_mask_storeu_ps(call.found + row * call.outputs + first,
                          numbers::first_lanes(call.outputs - first),
                          products::outputs_of(call.weights, sums + part, first, largest));
  }
}

inline void multiply(const Call& call) {
  if (call.rows == 0) return;
  const int64_t blocks = call.weights.outputs / kBlock;
#pragma omp parallel num_threads(int(call.threads))
  {
    products::quantise(call.weights, call.inputs, call.rows, call.width, call.levels, call.largest);
    const tiles::Tiles used(call.has_tiles);
#pragma omp for schedule(static)
    for (int64_t block = 0; block < blocks; ++block)
      products::multiply(
          call.weights, call.levels, call.rows, block * kBlock, call.has_tiles,
          [&](const int32_t* sums, int64_t row) { keep(call, sums, row, block); });
  }
}

}  // namespace rows
