// Products of rows and weights in eight-bit integers. Sums are exact, so they are the same by
// whatever instructions, in whatever order, in whatever company.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "numbers.h"
#include "tiles.h"

namespace products {

constexpr int64_t kTile = 16;   // rows of a tile, and outputs of one
constexpr int64_t kRows = 32;   // rows that are multiplied together
constexpr int64_t kBlock = 64;  // outputs that are
constexpr int64_t kDepth = 64;  // inputs of a tile: rows and weights are padded to a multiple

// Levels are laid out (outputs / 16, inputs / 64, 16, 16, 4): of each sixteen outputs, four inputs
// of every output after the other.
struct Weights {
  const int8_t* levels;
  const int32_t* zeros;  // what a row of zeros, levels of 127, adds up to
  const float* scales;   // of an output, divided by the levels of a row
  const float* bias;
  int64_t outputs;  // a multiple of kBlock
  int64_t inputs;   // a multiple of kDepth

  const int8_t* of(int64_t output) const { return levels + output * inputs; }
};

// The levels of (count, width) rows and the magnitudes that they are of, shared out among threads
// of the parallel region that this is called in; all are made when it returns.
inline void quantise(const Weights& w, const float* rows, int64_t count, int64_t width,
                     uint8_t* levels, float* largest) {
#pragma omp for schedule(static)
  for (int64_t row = 0; row < count; ++row)
    largest[row] =
        numbers::quantise(rows + row * width, width, w.inputs, levels + row * w.inputs);
}

// The outputs from `sums` of a row, sixteen from `output`, whose greatest magnitude is `largest`.
inline __m512 outputs_of(const Weights& w, const int32_t* sums, int64_t output, __m512 largest) {
  const __m512i exact =
      _mm512_sub_epi32(_mm512_loadu_si512(sums), _mm512_loadu_si512(w.zeros + output));
  const __m512 scaled =
      _mm512_mul_ps(_mm512_cvtepi32_ps(exact), _mm512_loadu_ps(w.scales + output));
  return _mm512_fmadd_ps(scaled, largest, _mm512_loadu_ps(w.bias + output));
}

// Sixteen rows, or with those below thirty-two, by sixty-four outputs, by matrix units; they work
// on while `meanwhile` is done, which is called with a part of other work, and of how many.
template <bool kHasBelow, typename Meanwhile>
inline void by_tiles(const uint8_t* rows, const int8_t* weights, int64_t inputs, int32_t* sums,
                     const Meanwhile& meanwhile) {
  constexpr int64_t kStride = kBlock * sizeof(int32_t);
  const uint8_t* below = rows + kTile * inputs;
  const int64_t steps = inputs / kDepth;
  for (int64_t half = 0; half < 2; ++half) {
    const int8_t* left = weights + half * 2 * kTile * inputs;
    const int8_t* right = left + kTile * inputs;
    int32_t* found = sums + half * 2 * kTile;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t step = 0; step < steps; ++step) {
      _tile_loadd(4, rows + step * kDepth, inputs);
      _tile_loadd(6, left + step * kDepth * kTile, kDepth);
      _tile_dpbusd(0, 4, 6);
      _tile_loadd(7, right + step * kDepth * kTile, kDepth);
      _tile_dpbusd(1, 4, 7);
      if (kHasBelow) {
        _tile_loadd(5, below + step * kDepth, inputs);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
      }
      meanwhile(half * steps + step, 2 * steps);
    }
    _tile_stored(0, found, kStride);
    _tile_stored(1, found + kTile, kStride);
    if (kHasBelow) {
      _tile_stored(2, found + kTile * kBlock, kStride);
      _tile_stored(3, found + kTile * kBlock + kTile, kStride);
    }
  }
}

// Some rows, at most four, by sixty-four outputs, by vectors.
template <int kRows>
inline void by_vectors(const uint8_t* rows, const int8_t* weights, int64_t inputs, int32_t* sums) {
  __m512i sum[kRows][4];
  for (auto& row : sum)
    for (auto& part : row) part = _mm512_setzero_si512();
  for (int64_t i = 0; i < inputs; i += 4) {
    // Of a tile's sixty-four inputs, four fill a vector.
    const int8_t* here = weights + i * kTile;
    __m512i four[4];
    for (int64_t part = 0; part < 4; ++part)
      four[part] = _mm512_loadu_si512(here + part * kTile * inputs);
    for (int row = 0; row < kRows; ++row) {
      int32_t levels;
      std::memcpy(&levels, rows + row * inputs + i, sizeof levels);
      const __m512i each = _mm512_set1_epi32(levels);
      for (int part = 0; part < 4; ++part)
        sum[row][part] = _mm512_dpbusd_epi32(sum[row][part], each, four[part]);
    }
  }
  for (int row = 0; row < kRows; ++row)
    for (int64_t part = 0; part < 4; ++part)
      _mm512_storeu_si512(sums + row * kBlock + part * kTile, sum[row][part]);
}

// `count` rows, one or more, by sixty-four outputs from `output`. `finish` is given a row's 64 sums
// and its number, while those of later rows are made.
template <typename Finish>
inline void multiply(const Weights& w, const uint8_t* rows, int64_t count, int64_t output,
                     bool has_tiles, const Finish& finish) {
  alignas(64) int32_t sums[2][kRows * kBlock];
  const int8_t* weights = w.of(output);
  const auto finish_part = [&](int64_t chunk, int64_t part, int64_t parts) {
    const int64_t first = chunk * kRows, last = std::min(first + kRows, count);
    const int64_t each = (kRows + parts - 1) / parts;
    const int64_t end = std::min(first + (part + 1) * each, last);
    for (int64_t row = first + part * each; row < end; ++row)
      finish(sums[chunk % 2] + (row - first) * kBlock, row);
  };
  const int64_t chunks = (count + kRows - 1) / kRows;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t left = std::min(count - chunk * kRows, kRows);
    const uint8_t* here = rows + chunk * kRows * w.inputs;
    int32_t* found = sums[chunk % 2];
    const auto finish_before = [&](int64_t part, int64_t parts) {
      if (chunk > 0) finish_part(chunk - 1, part, parts);
    };
    if (has_tiles && left > kTile) {
      by_tiles<true>(here, weights, w.inputs, found, finish_before);
    } else if (has_tiles) {
      by_tiles<false>(here, weights, w.inputs, found, finish_before);
    } else {
      for (int64_t row = 0; row < left; row += 4)
        by_vectors<4>(here + row * w.inputs, weights, w.inputs, found + row * kBlock);
      finish_before(0, 1);
    }
  }
  finish_part(chunks - 1, 0, 1);
}

}  // namespace products
