// Sixteen numbers at a time: exponentials, and rows of floats as eight-bit integers.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace numbers {

constexpr float kLog2E = 1.44269504f;
constexpr float kLevels = 127.0f;  // of either sign; a zero is level 127 of 0 to 254

// 2^x, relative error below 2e-7; what is below 2^-125 is that, as smaller numbers than the least
// normal one are slow. What is no number is that, too.
inline __m512 power_of_two(__m512 x) {
  const __m512 power = _mm512_max_ps(x, _mm512_set1_ps(-125.0f));
  const __m512 rest = _mm512_reduce_ps(power, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  // Of 2^rest in [0, 1), the polynomial whose greatest relative error is least.
  __m512 sum = _mm512_set1_ps(1.877576608e-3f);
  sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(8.989340252e-3f));
  sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(5.582631792e-2f));
  sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(2.401536171e-1f));
  sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(6.931530732e-1f));
  sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(9.999999251e-1f));
  return _mm512_scalef_ps(sum, power);  // which takes the whole part
}

inline __m512 sigmoid(__m512 x) {
  const __m512 one = _mm512_set1_ps(1.0f);
  const __m512 power = _mm512_mul_ps(x, _mm512_set1_ps(-kLog2E));
  return _mm512_div_ps(one, _mm512_add_ps(one, power_of_two(power)));
}

inline __m512 tanh(__m512 x) {
  return _mm512_fmsub_ps(_mm512_set1_ps(2.0f), sigmoid(_mm512_add_ps(x, x)), _mm512_set1_ps(1.0f));
}

inline __mmask16 first_lanes(int64_t count) {
  return count >= 16 ? __mmask16(0xffff) : __mmask16((1u << count) - 1);
}

// A row's levels, with zeros up to `padded`, and its greatest magnitude.
inline float quantise(const float* row, int64_t count, int64_t padded, uint8_t* levels) {
  __m512 most = _mm512_set1_ps(1e-30f);
  for (int64_t i = 0; i < count; i += 16) {
    const __m512 x = _mm512_maskz_loadu_ps(first_lanes(count - i), row + i);
    most = _mm512_max_ps(most, _mm512_abs_ps(x));
  }
  const float largest = _mm512_reduce_max_ps(most);
  const __m512 scale = _mm512_set1_ps(kLevels / largest);
  // A half more, as the conversion cuts off what follows the point.
  const __m512 half = _mm512_set1_ps(kLevels + 0.5f);
  for (int64_t i = 0; i < padded; i += 16) {
    const __mmask16 lanes = i < count ? first_lanes(count - i) : __mmask16(0);
    const __m512 x = _mm512_maskz_loadu_ps(lanes, row + i);
    const __m512i level = _mm512_cvttps_epi32(_mm512_fmadd_ps(x, scale, half));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(levels + i), _mm512_cvtusepi32_epi8(level));
  }
  return largest;
}

}  // namespace numbers
