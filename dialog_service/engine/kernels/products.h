// Products of rows and weights in eight-bit integers. Sums are exact, so they are the same by
// whatever instructions, in whatever order, in whatever company.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace products {

constexpr int64_t kTile = 16;   // rows of a tile, and outputs of one
constexpr int64_t kBlock = 64;  // outputs that are multiplied together
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

// The outputs from `sums` of a row, sixteen from `output`, whose greatest magnitude is `largest`.
inline __m512 outputs_of(const Weights& w, const int32_t* sums, int64_t output, __m512 largest) {
  const __m512i exact =
      _mm512_sub_epi32(_mm512_loadu_si512(sums), _mm512_loadu_si512(w.zeros + output));
  const __m512 scaled =
      _mm512_mul_ps(_mm512_cvtepi32_ps(exact), _mm512_loadu_ps(w.scales + output));
  return _mm512_fmadd_ps(scaled, largest, _mm512_loadu_ps(w.bias + output));
}

// Matrix units: a thread says once how large its tiles are, and lets go of them in the end.
class Tiles {
 public:
  explicit Tiles(bool is_used) : is_used_(is_used) {
    if (!is_used_) return;
    struct alignas(64) {
      uint8_t palette = 1, start = 0, reserved[14] = {};
      uint16_t column_bytes[16] = {};
      uint8_t rows[16] = {};
    } shape;
    for (int tile = 0; tile < 8; ++tile) {
      shape.column_bytes[tile] = 64;
      shape.rows[tile] = 16;
    }
    _tile_loadconfig(&shape);
  }
  ~Tiles() {
    if (is_used_) _tile_release();
  }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

 private:
  bool is_used_;
};

// Sixteen or thirty-two rows by sixty-four outputs, by matrix units.
template <bool kTwo>
inline void by_tiles(const uint8_t* rows, const int8_t* weights, int64_t inputs, int32_t* sums) {
  const uint8_t* below = rows + kTile * inputs;
  constexpr int64_t kStride = kBlock * sizeof(int32_t);
  for (int64_t half = 0; half < kBlock; half += 2 * kTile) {
    const int8_t* left = weights + half * inputs;
    const int8_t* right = left + kTile * inputs;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t i = 0; i < inputs; i += kDepth) {
      _tile_loadd(4, rows + i, inputs);
      _tile_loadd(6, left + i * kTile, kDepth);
      _tile_dpbusd(0, 4, 6);
      _tile_loadd(7, right + i * kTile, kDepth);
      _tile_dpbusd(1, 4, 7);
      if (kTwo) {
        _tile_loadd(5, below + i, inputs);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
      }
    }
    _tile_stored(0, sums + half, kStride);
    _tile_stored(1, sums + half + kTile, kStride);
    if (kTwo) {
      _tile_stored(2, sums + kTile * kBlock + half, kStride);
      _tile_stored(3, sums + kTile * kBlock + half + kTile, kStride);
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

// Up to thirty-two rows by sixty-four outputs from `output`; (32, 64) sums, of idle rows anything.
inline void multiply(const Weights& w, const uint8_t* rows, int64_t count, int64_t output,
                     bool has_tiles, int32_t* sums) {
  const int8_t* weights = w.of(output);
  if (has_tiles && count > kTile) {
    by_tiles<true>(rows, weights, w.inputs, sums);
  } else if (has_tiles) {
    by_tiles<false>(rows, weights, w.inputs, sums);
  } else {
    for (int64_t row = 0; row < count; row += 4)
      by_vectors<4>(rows + row * w.inputs, weights, w.inputs, sums + row * kBlock);
  }
}

}  // namespace products
