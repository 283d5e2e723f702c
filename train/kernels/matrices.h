// Products of bfloat16 by matrix units, summed in float32, and the layouts they are made of.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "numbers.h"

namespace matrices {

using Narrow = uint16_t;  // a bfloat16

constexpr int64_t kTile = 16;   // rows of a tile, and columns of the right one's
constexpr int64_t kDepth = 32;  // what a product of two tiles sums over
constexpr int64_t kRows = 32;   // rows, and columns, that are multiplied together
constexpr int64_t kSize = 512;  // numbers of a tile

constexpr int64_t filled(int64_t count, int64_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

inline __m512 loaded(const float* from, int64_t count) {
  return count > 0 && from ? _mm512_maskz_loadu_ps(numbers::first_lanes(count), from)
                           : _mm512_setzero_ps();
}

// Each lane holds a number of `even`, and above it the one of `odd`.
inline __m512i pairs(__m512 even, __m512 odd) {
  const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(even));
  const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(odd));
  return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

inline void narrow(__m512 x, Narrow* to) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh(x));
}

// Sixteen numbers, each in the lower half of a lane.
inline __m512i widened(const Narrow* from) {
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

// Of a row of `count` numbers those from `first`, thirty-two of them, nothing where there is none.
inline __m512i narrow_part(const float* row, int64_t first, int64_t count) {
  const __m512 low = loaded(row + first, count - first);
  const __m512 high = loaded(row + first + kTile, count - first - kTile);
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

inline void narrow_row(const float* row, int64_t count, int64_t padded, Narrow* to) {
  for (int64_t i = 0; i < padded; i += kDepth)
    _mm512_storeu_si512(to + i, narrow_part(row, i, count));
}

// Sixteen rows of sixteen lanes, turned: rows become lanes.
inline void turn(__m512i (&rows)[kTile]) {
  __m512i other[kTile];
  for (int64_t i = 0; i < kTile; i += 2) {
    other[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    other[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  for (int64_t i = 0; i < kTile; i += 4)
    for (int64_t j = 0; j < 2; ++j) {
      rows[i + 2 * j] = _mm512_unpacklo_epi64(other[i + j], other[i + j + 2]);
      rows[i + 2 * j + 1] = _mm512_unpackhi_epi64(other[i + j], other[i + j + 2]);
    }
  // Each quarter of a vector is in its place by now among its like.
  for (int64_t i = 0; i < 4; ++i) {
    const __m512i low = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0x88);
    const __m512i high = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0xdd);
    const __m512i later_low = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0x88);
    const __m512i later_high = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0xdd);
    other[i] = _mm512_shuffle_i32x4(low, later_low, 0x88);
    other[i + 4] = _mm512_shuffle_i32x4(high, later_high, 0x88);
    other[i + 8] = _mm512_shuffle_i32x4(low, later_low, 0xdd);
    other[i + 12] = _mm512_shuffle_i32x4(high, later_high, 0xdd);
  }
  for (int64_t i = 0; i < kTile; ++i) rows[i] = other[i];
}

inline void store(const __m512i (&rows)[kTile], Narrow* tile) {
  for (int64_t i = 0; i < kTile; ++i) _mm512_storeu_si512(tile + i * kDepth, rows[i]);
}

// A tile of a right matrix from sixteen of its columns, `column(lane)`, each in a row of `count`
// numbers of which those from `first` are meant; nothing where there is none.
template <typename Column>
inline void pack_columns(const Column& column, int64_t first, int64_t count, Narrow* tile) {
  __m512i rows[kTile];
  for (int64_t lane = 0; lane < kTile; ++lane) {
    const float* from = column(lane);
    rows[lane] = from ? narrow_part(from, first, count) : _mm512_setzero_si512();
  }
  turn(rows);
  store(rows, tile);
}

// Two rows of such a tile, likewise, from two rows of the matrix.
inline void pack_pair(const float* even, const float* odd, int64_t first, int64_t count,
                      Narrow* to) {
  _mm512_storeu_si512(to, pairs(loaded(even ? even + first : even, count - first),
                                loaded(odd ? odd + first : odd, count - first)));
}

// Sixteen numbers of thirty-two rows, turned: each lane holds a number of two rows.
inline void turn_rows(const Narrow* from, int64_t width, __m512i (&rows)[kTile]) {
  for (int64_t pair = 0; pair < kTile; ++pair) {
    const Narrow* even = from + 2 * pair * width;
    const __m512i odd = _mm512_slli_epi32(widened(even + width), 16);
    rows[pair] = _mm512_or_si512(widened(even), odd);
  }
  turn(rows);
}

// The first `count` lanes of each row into a row of tiles of a left matrix, from its lane `first`.
inline void store_lanes(const __m512i (&rows)[kTile], Narrow* tiles, int64_t first,
                        int64_t count) {
  Narrow* to = tiles + first / kTile * kSize + first % kTile * 2;
  const int64_t here = kTile - first % kTile;  // there is room for
  for (int64_t i = 0; i < kTile; ++i) {
    const __mmask16 fitting = numbers::first_lanes(here < count ? here : count);
    _mm512_mask_storeu_epi32(to + i * kDepth, fitting, rows[i]);
    if (count > here)
      _mm512_mask_storeu_epi32(tiles + (first / kTile + 1) * kSize + i * kDepth,
                               numbers::first_lanes(count - here),
                               _mm512_maskz_compress_epi32(__mmask16(~fitting), rows[i]));
  }
}

// A distance between rows at which the cache keeps tiles of neighbours apart: an odd number of its
// lines.
constexpr int64_t spaced(int64_t width, int64_t line) {
  return (filled(width, line) / line | 1) * line;
}

// Rows of a left matrix: `stride` bytes apart, tiles of depth `step` numbers apart, the sixteen
// rows below those `below` numbers on. Of thirty-two those that are not there need no sums.
struct Left {
  const Narrow* rows;
  int64_t stride;
  int64_t step;
  int64_t below;
  int64_t rows_there;
};

// Rows that lie one after the other.
inline Left rows_of(const Narrow* rows, int64_t width, int64_t rows_there = kRows) {
  return {rows, width * int64_t(sizeof(Narrow)), kDepth, kTile * width, rows_there};
}

// A left matrix that lies in tiles, `depth` of them in a row of tiles.
inline Left tiled(const Narrow* tiles, int64_t depth) {
  return {tiles, kDepth * int64_t(sizeof(Narrow)), kSize, depth * kSize, kRows};
}

// Nothing else to do.
inline void idle(int64_t, int64_t) {}

// Thirty-two rows by thirty-two columns. A right matrix lies in tiles of two rows by two, `depth`
// of them to sixteen columns; `right` has those of the first sixteen, `depth` tiles later come the
// next. The first `steps` of them are summed, onto what is there where `kAdds`. The matrix unit
// works on while `meanwhile` is done, which is called with a part of other work, and of how many.
template <bool kAdds, bool kHasBelow, typename Meanwhile>
inline void multiply_tiles(const Left& left, const Narrow* right, int64_t depth, int64_t steps,
                     float* sums, int64_t width, const Meanwhile& meanwhile) {
  const int64_t stride = width * int64_t(sizeof(float));
  float* under = sums + kTile * width;
  if (kAdds) {
    _tile_loadd(0, sums, stride);
    _tile_loadd(1, sums + kTile, stride);
    if (kHasBelow) {
      _tile_loadd(2, under, stride);
      _tile_loadd(3, under + kTile, stride);
    }
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t step = 0; step < steps; ++step) {
    const Narrow* rows = left.rows + step * left.step;
    _tile_loadd(4, rows, left.stride);
    _tile_loadd(6, right + step * kSize, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, right + (depth + step) * kSize, 64);
    _tile_dpbf16ps(1, 4, 7);
    if (kHasBelow) {
      _tile_loadd(5, rows + left.below, left.stride);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    meanwhile(step, steps);
  }
  _tile_stored(0, sums, stride);
  _tile_stored(1, sums + kTile, stride);
  if (kHasBelow) {
    _tile_stored(2, under, stride);
    _tile_stored(3, under + kTile, stride);
  }
}

template <bool kAdds, typename Meanwhile>
inline void multiply(const Left& left, const Narrow* right, int64_t depth, int64_t steps,
                     float* sums, int64_t width, const Meanwhile& meanwhile) {
  if (left.rows_there > kTile)
    multiply_tiles<kAdds, true>(left, right, depth, steps, sums, width, meanwhile);
  else
    multiply_tiles<kAdds, false>(left, right, depth, steps, sums, width, meanwhile);
}

// Of `count` pieces of work those of one part of `parts`: the first, and the one behind the last.
struct Share {
  int64_t first;
  int64_t last;

  Share(int64_t first, int64_t last) : first(first), last(last) {}
  Share(int64_t count, int64_t part, int64_t parts)
      : first(count * part / parts), last(count * (part + 1) / parts) {}
};

}  // namespace matrices
