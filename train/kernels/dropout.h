// Dropout whose mask is a function of a seed and of a number's place, so that it is never kept:
// the way back makes it again.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "numbers.h"

namespace dropout {

constexpr int64_t kBytes = 64;  // random ones that are made together, one a number

struct Dropout {
  int64_t threads;
  int64_t count;
  int64_t dropped;  // of 256 levels
  int64_t seed;
  const float* values;
  float* found;
};

// Sixty-four random bytes, the `number`-th: SplitMix64 (Steele, Lea, Flood 2014) of eight
// counters.
inline __m512i random_bytes(int64_t seed, int64_t number) {
  const __m512i counter = _mm512_add_epi64(_mm512_set1_epi64(number * 8),
                                           _mm512_setr_epi64(1, 2, 3, 4, 5, 6, 7, 8));
  const auto mixed = [](__m512i x, int shift, uint64_t factor) {
    const __m512i shifted = _mm512_srl_epi64(x, _mm_cvtsi32_si128(shift));
    return _mm512_mullo_epi64(_mm512_xor_si512(x, shifted), _mm512_set1_epi64(factor));
  };
  __m512i x = _mm512_add_epi64(
      _mm512_set1_epi64(seed),
      _mm512_mullo_epi64(counter, _mm512_set1_epi64(int64_t(0x9e3779b97f4a7c15))));
  x = mixed(x, 30, 0xbf58476d1ce4e5b9);
  x = mixed(x, 27, 0x94d049bb133111eb);
  return _mm512_xor_si512(x, _mm512_srli_epi64(x, 31));
}

inline void drop_out(const Dropout& call) {
  const __m512 scale = _mm512_set1_ps(256.0f / float(256 - call.dropped));
  const __m512i least = _mm512_set1_epi8(char(call.dropped));
#pragma omp parallel for schedule(static) num_threads(int(call.threads))
  for (int64_t first = 0; first < call.count; first += kBytes) {
    uint64_t kept = _mm512_cmpge_epu8_mask(random_bytes(call.seed, first / kBytes), least);
    for (int64_t i = first; i < first + kBytes && i < call.count; i += 16, kept >>= 16) {
      const __mmask16 lanes = numbers::first_lanes(call.count - i);
      const __m512 value = _mm512_maskz_loadu_ps(lanes, call.values + i);
      _mm512_mask_storeu_ps(call.found + i, lanes,
                            _mm512_maskz_mul_ps(__mmask16(kept), value, scale));
    }
  }
}

}  // namespace dropout
