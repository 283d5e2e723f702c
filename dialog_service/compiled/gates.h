// What a gated recurrent unit does with its sums: the one copy for a decoding step and for
// training.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "numbers.h"

namespace gates {

enum Kind : int64_t { kLstm = 0, kGru = 1 };

constexpr int64_t kSlots = 4;

// What sixteen units sum up, from both of their inputs: of an LSTM its gates in torch's order; of
// a GRU reset, update, and of the candidate the input's share and the state's, as the reset gate
// stands between them. `before` is the cell, of a GRU the state.
struct Units {
  __m512 slot[kSlots];
  __m512 before;
};

struct State {
  __m512 hidden;
  __m512 kept;  // the cell, of a GRU the state
};

// The slots after their functions, and the state (Hochreiter & Schmidhuber 1997, with forget
// gate).
inline State advance_lstm(Units& at) {
  at.slot[0] = numbers::sigmoid(at.slot[0]);
  at.slot[1] = numbers::sigmoid(at.slot[1]);
  at.slot[2] = numbers::tanh(at.slot[2]);
  at.slot[3] = numbers::sigmoid(at.slot[3]);
  const __m512 cell =
      _mm512_fmadd_ps(at.slot[1], at.before, _mm512_mul_ps(at.slot[0], at.slot[2]));
  return {_mm512_mul_ps(at.slot[3], numbers::tanh(cell)), cell};
}

// The same (Cho et al. 2014, reset applied after the product); the candidate is in the third slot,
// the fourth stays what it was.
inline State advance_gru(Units& at) {
  at.slot[0] = numbers::sigmoid(at.slot[0]);
  at.slot[1] = numbers::sigmoid(at.slot[1]);
  at.slot[2] = numbers::tanh(_mm512_fmadd_ps(at.slot[0], at.slot[3], at.slot[2]));
  const __m512 hidden =
      _mm512_fmadd_ps(at.slot[1], _mm512_sub_ps(at.before, at.slot[2]), at.slot[2]);
  return {hidden, hidden};
}

inline State advance(int64_t kind, Units& at) {
  return kind == kLstm ? advance_lstm(at) : advance_gru(at);
}

}  // namespace gates
