// A recurrent layer over whole sequences, forward and backward. Rows are sorted, longest first, and
// taken thirty-two together from their first step to the last: one thread walks with them, and waits
// for no other.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "matrices.h"
#include "tiles.h"

namespace walks {

using matrices::filled;
using matrices::kDepth;
using matrices::kRows;
using matrices::kSize;
using matrices::kTile;
using matrices::Narrow;

constexpr int64_t kSlots = 4;
constexpr int64_t kBlock = kSlots * kTile;  // the slots of sixteen units

// What a unit sums up: of an LSTM its gates in torch's order; of a GRU reset, update, and of the
// candidate the input's share and the state's, as the reset gate stands between them.
enum Kind : int64_t { kLstm = 0, kGru = 1 };

struct Walk {
  int64_t threads;
  int64_t kind;
  int64_t rows;
  int64_t width;  // steps that every row has room for
  int64_t inputs;
  int64_t units;
  int64_t groups;             // of thirty-two rows
  const int64_t* order;       // (rows,) longest first
  const int64_t* lengths;     // (rows,)
  const int64_t* first_step;  // (groups + 1,) how many steps the groups before have in all
  const float* x;             // (rows, width, inputs)
  const float* input_weight;  // as torch has them: (gates x units, inputs) and so on
  const float* hidden_weight;
  const float* input_bias;
  const float* hidden_bias;
  // Of every step of a group, thirty-two rows: what the product sees, the input and the state
  // before; the slots after their functions; the cells, of a GRU the states.
  Narrow* seen;   // (steps x 32, depth)
  float* active;  // (steps x 32, slots)
  float* cells;   // (steps x 32, whole units)
  Narrow* right;  // room for the weights in tiles: depth x slots
  float* bias;    // room: (slots,)
  float* hidden;  // (rows, width, units), zeros before
  // Backward.
  const float* grad;   // as hidden
  Narrow* slot_grads;  // in tiles of two rows by two: steps x 32 by slots
  Narrow* turned;      // in tiles: depth by steps x 32, what the product saw
  float* bias_grads;   // (groups, slots)
  float* x_grad;       // as x, zeros before
  float* input_weight_grad;
  float* hidden_weight_grad;

  int64_t whole_inputs() const { return filled(inputs, kDepth); }
  int64_t whole_units() const { return filled(units, kDepth); }
  int64_t depth() const { return whole_inputs() + whole_units(); }
  int64_t slots() const { return kSlots * whole_units(); }
  int64_t steps() const { return first_step[groups]; }
  int64_t steps(int64_t group) const { return first_step[group + 1] - first_step[group]; }
};

// One row of a group.
struct Row {
  int64_t number;
  int64_t length;  // 0 where the group has no such row

  Row(const Walk& w, int64_t group, int64_t place) {
    const int64_t rank = group * kRows + place;
    number = rank < w.rows ? w.order[rank] : 0;
    length = rank < w.rows ? w.lengths[number] : 0;
  }
};

// The weights of a slot, as a row of the input's or of the state's; null where it has none.
inline const float* weights_of(const Walk& w, bool is_input, int64_t slot, int64_t unit) {
  if (unit >= w.units) return nullptr;
  int64_t gate = slot;
  if (w.kind == kGru) {
    if (slot == (is_input ? 3 : 2)) return nullptr;
    gate = std::min<int64_t>(slot, 2);
  }
  const int64_t row = gate * w.units + unit;
  return is_input ? w.input_weight + row * w.inputs : w.hidden_weight + row * w.units;
}

inline float bias_of(const Walk& w, int64_t slot, int64_t unit) {
  if (unit >= w.units) return 0;
  if (w.kind == kGru && slot == 2) return w.input_bias[2 * w.units + unit];
  if (w.kind == kGru && slot == 3) return w.hidden_bias[2 * w.units + unit];
  return w.input_bias[slot * w.units + unit] + w.hidden_bias[slot * w.units + unit];
}

// The part of the depth that is the input's, or the state's: its first tile and the one behind.
struct Part {
  bool is_input;
  int64_t width;
  int64_t first;
  int64_t last;
};

inline Part part_of(const Walk& w, bool is_input) {
  const int64_t between = w.whole_inputs() / kDepth;
  if (is_input) return {true, w.inputs, 0, between};
  return {false, w.units, between, w.depth() / kDepth};
}

// Tiles for the product of what is seen and the weights: depth by slots. Of sixteen units.
inline void pack_forward(const Walk& w, int64_t block) {
  const int64_t depth = w.depth() / kDepth;
  for (int64_t slot = 0; slot < kSlots; ++slot) {
    Narrow* tiles = w.right + (block * kSlots + slot) * depth * kSize;
    for (int64_t lane = 0; lane < kTile; ++lane) {
      const int64_t unit = block * kTile + lane;
      w.bias[block * kBlock + slot * kTile + lane] = bias_of(w, slot, unit);
      for (const bool is_input : {true, false}) {
        const Part part = part_of(w, is_input);
        const float* row = weights_of(w, is_input, slot, unit);
        for (int64_t step = part.first; step < part.last; ++step) {
          const int64_t first = (step - part.first) * kDepth;
          const __m512i values = row ? matrices::narrow_part(row, first, part.width)
                                     : _mm512_setzero_si512();
          matrices::scatter_pairs(tiles + step * kSize, lane, values);
        }
      }
    }
  }
}

// Tiles for the product of the slots' gradients and the weights: slots by depth. Of sixteen units,
// which are two tiles deep.
inline void pack_backward(const Walk& w, int64_t block) {
  const int64_t deep = w.slots() / kDepth;
  for (const bool is_input : {true, false}) {
    const Part part = part_of(w, is_input);
    for (int64_t pair = 0; pair < kBlock / 2; ++pair) {
      const int64_t slot = pair / 8, unit = block * kTile + pair % 8 * 2;
      const float* even = weights_of(w, is_input, slot, unit);
      const float* odd = weights_of(w, is_input, slot, unit + 1);
      const int64_t tile = block * 2 + pair / kTile;
      for (int64_t column = part.first * 2; column < part.last * 2; ++column) {
        const int64_t first = (column - part.first * 2) * kTile, left = part.width - first;
        const __m512i values = matrices::pairs(matrices::loaded(even ? even + first : even, left),
                                               matrices::loaded(odd ? odd + first : odd, left));
        _mm512_storeu_si512(w.right + (column * deep + tile) * kSize + pair % kTile * kDepth,
                            values);
      }
    }
  }
}

inline void read_inputs(const Walk& w, int64_t group, int64_t step, Narrow* seen) {
  for (int64_t place = 0; place < kRows; ++place) {
    const Row row(w, group, place);
    Narrow* here = seen + place * w.depth();
    const float* given = w.x + (row.number * w.width + step) * w.inputs;
    matrices::narrow_row(given, step < row.length ? w.inputs : 0, w.whole_inputs(), here);
    if (step == 0)
      std::memset(here + w.whole_inputs(), 0, w.whole_units() * sizeof(Narrow));
  }
}

// Sixteen units of a row at a step.
struct Units {
  __m512 slot[kSlots];
  __m512 before;  // the cell, of a GRU the state
};

struct State {
  __m512 hidden;
  __m512 kept;  // the cell, of a GRU the state
};

inline State advance_lstm(Units& at) {
  at.slot[0] = numbers::sigmoid(at.slot[0]);
  at.slot[1] = numbers::sigmoid(at.slot[1]);
  at.slot[2] = numbers::tanh(at.slot[2]);
  at.slot[3] = numbers::sigmoid(at.slot[3]);
  const __m512 cell =
      _mm512_fmadd_ps(at.slot[1], at.before, _mm512_mul_ps(at.slot[0], at.slot[2]));
  return {_mm512_mul_ps(at.slot[3], numbers::tanh(cell)), cell};
}

inline State advance_gru(Units& at) {
  at.slot[0] = numbers::sigmoid(at.slot[0]);
  at.slot[1] = numbers::sigmoid(at.slot[1]);
  at.slot[2] = numbers::tanh(_mm512_fmadd_ps(at.slot[0], at.slot[3], at.slot[2]));
  const __m512 hidden =
      _mm512_fmadd_ps(at.slot[1], _mm512_sub_ps(at.before, at.slot[2]), at.slot[2]);
  return {hidden, hidden};
}

// Where sixteen units of a row at a step of a group lie.
struct Place {
  int64_t group;
  int64_t step;
  int64_t row;  // of the group
  int64_t block;

  int64_t number(const Walk& w) const { return (w.first_step[group] + step) * kRows + row; }
  int64_t slots(const Walk& w) const { return number(w) * w.slots() + block * kBlock; }
  int64_t cells(const Walk& w) const { return number(w) * w.whole_units() + block * kTile; }
  // Of the step before, which thirty-two rows lie between.
  int64_t cells_before(const Walk& w) const { return cells(w) - kRows * w.whole_units(); }
  int64_t state_after(const Walk& w) const {
    return (number(w) + kRows) * w.depth() + w.whole_inputs() + block * kTile;
  }
};

inline __m512 cells_before(const Walk& w, const Place& at) {
  return at.step ? _mm512_loadu_ps(w.cells + at.cells_before(w)) : _mm512_setzero_ps();
}

inline void advance(const Walk& w, const Place& at, const float* sums) {
  Units units;
  for (int64_t slot = 0; slot < kSlots; ++slot)
    units.slot[slot] =
        _mm512_add_ps(_mm512_loadu_ps(sums + slot * kTile),
                      _mm512_loadu_ps(w.bias + at.block * kBlock + slot * kTile));
  units.before = cells_before(w, at);
  const State after = w.kind == kLstm ? advance_lstm(units) : advance_gru(units);
  for (int64_t slot = 0; slot < kSlots; ++slot)
    _mm512_storeu_ps(w.active + at.slots(w) + slot * kTile, units.slot[slot]);
  _mm512_storeu_ps(w.cells + at.cells(w), after.kept);
  if (at.step + 1 < w.steps(at.group)) matrices::narrow(after.hidden, w.seen + at.state_after(w));
  const Row row(w, at.group, at.row);
  if (at.step >= row.length) return;
  const int64_t unit = at.block * kTile;
  if (unit < w.units)
    _mm512_mask_storeu_ps(w.hidden + (row.number * w.width + at.step) * w.units + unit,
                          numbers::first_lanes(w.units - unit), after.hidden);
}

inline void walk_forward(const Walk& w, int64_t group) {
  alignas(64) float sums[kRows * kBlock];
  const int64_t depth = w.depth() / kDepth, between = w.whole_inputs() / kDepth;
  for (int64_t step = 0; step < w.steps(group); ++step) {
    Narrow* seen = w.seen + (w.first_step[group] + step) * kRows * w.depth();
    read_inputs(w, group, step, seen);
    const auto left = matrices::rows_of(seen, w.depth());
    for (int64_t block = 0; block < w.whole_units() / kTile; ++block) {
      const Narrow* right = w.right + block * kSlots * depth * kSize;
      // A state of nothing adds nothing.
      const int64_t last = step ? depth : between;
      matrices::multiply<false>(left, right, depth, 0, last, sums, kBlock);
      matrices::multiply<false>(left, right + 2 * depth * kSize, depth, 0, last,
                                sums + 2 * kTile, kBlock);
      for (int64_t row = 0; row < kRows; ++row)
        advance(w, {group, step, row, block}, sums + row * kBlock);
    }
  }
}

inline void forward(const Walk& w) {
#pragma omp parallel num_threads(int(w.threads))
  {
    const tiles::Tiles used(true);
#pragma omp for schedule(static)
    for (int64_t block = 0; block < w.whole_units() / kTile; ++block) pack_forward(w, block);
    // The longest come first, so that no thread begins them when the others are done.
#pragma omp for schedule(dynamic, 1)
    for (int64_t group = 0; group < w.groups; ++group) walk_forward(w, group);
  }
}

// One thread's gradients between steps, thirty-two rows each.
struct Carried {
  std::vector<float> hidden;  // of the state, (32, depth): what the product finds, of all it saw
  std::vector<float> cell;    // (32, whole units)
  std::vector<Narrow> slots;  // (32, slots)

  explicit Carried(const Walk& w)
      : hidden(kRows * w.depth()), cell(kRows * w.whole_units()), slots(kRows * w.slots()) {}
};

struct Grads {
  __m512 slot[kSlots];
  __m512 carried;  // to the cell before; of a GRU to the state before, beside the products
};

inline __m512 times_slope_of_sigmoid(__m512 x, __m512 value) {
  return _mm512_mul_ps(x, _mm512_fnmadd_ps(value, value, value));
}

inline __m512 times_slope_of_tanh(__m512 x, __m512 value) {
  return _mm512_mul_ps(x, _mm512_fnmadd_ps(value, value, _mm512_set1_ps(1.0f)));
}

inline Grads of_lstm(const Units& at, __m512 cell, __m512 hidden_grad, __m512 cell_grad) {
  const __m512 *slot = at.slot, squashed = numbers::tanh(cell);
  const __m512 through =
      _mm512_add_ps(times_slope_of_tanh(_mm512_mul_ps(hidden_grad, slot[3]), squashed), cell_grad);
  return {{times_slope_of_sigmoid(_mm512_mul_ps(through, slot[2]), slot[0]),
           times_slope_of_sigmoid(_mm512_mul_ps(through, at.before), slot[1]),
           times_slope_of_tanh(_mm512_mul_ps(through, slot[0]), slot[2]),
           times_slope_of_sigmoid(_mm512_mul_ps(hidden_grad, squashed), slot[3])},
          _mm512_mul_ps(through, slot[1])};
}

inline Grads of_gru(const Units& at, __m512 hidden_grad) {
  const __m512* slot = at.slot;
  const __m512 kept = _mm512_mul_ps(hidden_grad, slot[1]);
  const __m512 candidate = times_slope_of_tanh(_mm512_sub_ps(hidden_grad, kept), slot[2]);
  const __m512 difference = _mm512_sub_ps(at.before, slot[2]);
  return {{times_slope_of_sigmoid(_mm512_mul_ps(candidate, slot[3]), slot[0]),
           times_slope_of_sigmoid(_mm512_mul_ps(hidden_grad, difference), slot[1]), candidate,
           _mm512_mul_ps(candidate, slot[0])},
          kept};
}

inline Grads retreat(const Walk& w, const Place& at, Carried& carried) {
  const Row row(w, at.group, at.row);
  const int64_t unit = at.block * kTile;
  float* cell_grad = &carried.cell[at.row * w.whole_units() + unit];
  const float* found = &carried.hidden[at.row * w.depth() + w.whole_inputs() + unit];
  // A row that is not there yet has nothing to hand on.
  const __m512 nothing = _mm512_setzero_ps();
  if (at.step >= row.length) return {{nothing, nothing, nothing, nothing}, nothing};
  const float* given = w.grad + (row.number * w.width + at.step) * w.units + unit;
  __m512 hidden_grad = matrices::loaded(given, w.units - unit);
  const bool goes_on = at.step + 1 < row.length;
  if (goes_on) hidden_grad = _mm512_add_ps(hidden_grad, _mm512_loadu_ps(found));
  const __m512 kept = goes_on ? _mm512_loadu_ps(cell_grad) : _mm512_setzero_ps();
  Units units;
  for (int64_t slot = 0; slot < kSlots; ++slot)
    units.slot[slot] = _mm512_loadu_ps(w.active + at.slots(w) + slot * kTile);
  units.before = cells_before(w, at);
  const Grads grads =
      w.kind == kLstm
          ? of_lstm(units, _mm512_loadu_ps(w.cells + at.cells(w)), hidden_grad, kept)
          : of_gru(units, _mm512_add_ps(hidden_grad, kept));
  _mm512_storeu_ps(cell_grad, grads.carried);
  return grads;
}

// The slots' gradients of a step: as rows, as tiles, and added to the biases'.
inline void retreat_step(const Walk& w, int64_t group, int64_t step, Carried& carried) {
  const int64_t number = w.first_step[group] + step, deep = w.steps();
  for (int64_t block = 0; block < w.whole_units() / kTile; ++block) {
    __m512 sums[kSlots];
    for (auto& sum : sums) sum = _mm512_setzero_ps();
    for (int64_t row = 0; row < kRows; row += 2) {
      const Grads even = retreat(w, {group, step, row, block}, carried);
      const Grads odd = retreat(w, {group, step, row + 1, block}, carried);
      for (int64_t slot = 0; slot < kSlots; ++slot) {
        const int64_t column = block * kSlots + slot;
        matrices::narrow(even.slot[slot], &carried.slots[row * w.slots() + column * kTile]);
        matrices::narrow(odd.slot[slot], &carried.slots[(row + 1) * w.slots() + column * kTile]);
        _mm512_storeu_si512(w.slot_grads + (column * deep + number) * kSize + row * kTile,
                            matrices::pairs(even.slot[slot], odd.slot[slot]));
        sums[slot] = _mm512_add_ps(sums[slot], _mm512_add_ps(even.slot[slot], odd.slot[slot]));
      }
    }
    float* biases = w.bias_grads + group * w.slots() + block * kBlock;
    for (int64_t slot = 0; slot < kSlots; ++slot)
      _mm512_storeu_ps(biases + slot * kTile,
                       _mm512_add_ps(_mm512_loadu_ps(biases + slot * kTile), sums[slot]));
  }
}

inline void write_input_grads(const Walk& w, int64_t group, int64_t step, const Carried& carried) {
  for (int64_t place = 0; place < kRows; ++place) {
    const Row row(w, group, place);
    if (step < row.length)
      std::memcpy(w.x_grad + (row.number * w.width + step) * w.inputs,
                  &carried.hidden[place * w.depth()], w.inputs * sizeof(float));
  }
}

// What the product saw at a step, turned: a tile of sixteen numbers by thirty-two rows each.
inline void turn(const Walk& w, int64_t number) {
  const Narrow* seen = w.seen + number * kRows * w.depth();
  for (int64_t column = 0; column < w.depth() / kTile; ++column) {
    Narrow* tile = w.turned + (column * w.steps() + number) * kSize;
    for (int64_t pair = 0; pair < kTile; ++pair) {
      const Narrow* even = seen + 2 * pair * w.depth() + column * kTile;
      const __m512i odd = _mm512_slli_epi32(matrices::widened(even + w.depth()), 16);
      matrices::scatter_pairs(tile, pair, _mm512_or_si512(matrices::widened(even), odd));
    }
  }
}

inline void walk_backward(const Walk& w, int64_t group, Carried& carried) {
  const int64_t deep = w.slots() / kDepth;
  std::fill_n(w.bias_grads + group * w.slots(), w.slots(), 0.0f);
  for (int64_t step = w.steps(group) - 1; step >= 0; --step) {
    retreat_step(w, group, step, carried);
    turn(w, w.first_step[group] + step);
    const auto left = matrices::rows_of(carried.slots.data(), w.slots());
    // Nobody asks for the gradient of the state before the first step.
    const int64_t columns = (step ? w.depth() : w.whole_inputs()) / kTile;
    for (int64_t column = 0; column < columns; column += 2)
      matrices::multiply<false>(left, w.right + column * deep * kSize, deep, 0, deep,
                                &carried.hidden[column * kTile], w.depth());
    write_input_grads(w, group, step, carried);
  }
}

// The weights' gradient: thirty-two numbers of what the product saw by two slots of sixteen units.
inline void write_weight_grads(const Walk& w, int64_t column, int64_t slots) {
  alignas(64) float sums[kRows * kRows];
  const int64_t deep = w.steps();
  const bool is_input = column * kTile < w.whole_inputs();
  matrices::multiply<false>(matrices::tiled(w.turned + column * deep * kSize, deep),
                            w.slot_grads + slots * deep * kSize, deep, 0, deep, sums, kRows);
  const int64_t first = column * kTile - (is_input ? 0 : w.whole_inputs());
  const int64_t width = is_input ? w.inputs : w.units;
  float* grads = is_input ? w.input_weight_grad : w.hidden_weight_grad;
  const float* weights = is_input ? w.input_weight : w.hidden_weight;
  for (int64_t lane = 0; lane < kRows; ++lane) {
    const int64_t slot = (slots + lane / kTile) % kSlots;
    const int64_t unit = (slots + lane / kTile) / kSlots * kTile + lane % kTile;
    const float* row = weights_of(w, is_input, slot, unit);
    if (!row) continue;
    for (int64_t i = 0; i < std::min(kRows, width - first); ++i)
      grads[row - weights + first + i] = sums[i * kRows + lane];
  }
}

inline void backward(const Walk& w) {
  const int64_t columns = w.depth() / kRows, pairs = w.slots() / kRows;
#pragma omp parallel num_threads(int(w.threads))
  {
    const tiles::Tiles used(true);
#pragma omp for schedule(static)
    for (int64_t block = 0; block < w.whole_units() / kTile; ++block) pack_backward(w, block);
    Carried carried(w);
#pragma omp for schedule(dynamic, 1)
    for (int64_t group = 0; group < w.groups; ++group) walk_backward(w, group, carried);
#pragma omp for schedule(static)
    for (int64_t task = 0; task < columns * pairs; ++task)
      write_weight_grads(w, task / pairs * 2, task % pairs * 2);
  }
}

}  // namespace walks
