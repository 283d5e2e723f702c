// A recurrent layer over whole sequences: what both ways share. Rows are sorted, longest first,
// and taken thirty-two together from their first step to the last: one thread walks with them, and
// waits for no other. Groups that are left when every thread has had as many are walked by all
// threads together, some units each, which wait for one another at every step.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "gates.h"
#include "matrices.h"

namespace walks {

using matrices::filled;
using matrices::kDepth;
using matrices::kRows;
using matrices::kSize;
using matrices::kTile;
using matrices::Narrow;

using gates::kGru;
using gates::kSlots;
constexpr int64_t kBlock = kSlots * kTile;  // the slots of sixteen units

struct Walk {
  int64_t threads;
  int64_t kind;
  int64_t rows;
  int64_t width;  // steps that every row has room for
  int64_t inputs;
  int64_t units;
  int64_t groups;             // of thirty-two rows
  int64_t is_reversed;        // each row from its end to its beginning
  int64_t has_last;           // of the states only the last is found, and has a gradient
  const int64_t* order;       // (rows,) longest first
  const int64_t* lengths;     // (rows,)
  const int64_t* first_step;  // (groups + 1,) how many steps the groups before have in all
  const int64_t* first_tile;  // likewise tiles of sixteen pairs of rows that steps have
  const float* x;             // (rows, width, inputs)
  const float* input_weight;  // as torch has them: (gates x units, inputs) and so on
  const float* hidden_weight;
  const float* input_bias;
  const float* hidden_bias;
  // Of every step of a group, thirty-two rows: what the product sees, the input and the state
  // before; the slots after their functions; the cells, of a GRU the states.
  Narrow* seen;   // (steps x 32, depth and what spaces it)
  float* active;  // (steps x 32, slots)
  float* cells;   // (steps x 32, whole units)
  Narrow* right;  // room for the weights in tiles: depth x slots
  float* bias;    // room: (slots,)
  float* hidden;  // (rows, width, units), or (rows, units) of the last
  // Backward.
  const float* grad;   // as hidden
  Narrow* slot_grads;  // in tiles of two rows by two: of every step's pairs of rows, by slots
  Narrow* turned;      // in tiles: depth by those pairs, what the product saw
  float* bias_grads;   // (groups, slots)
  float* x_grad;       // as x
  float* input_weight_grad;
  float* hidden_weight_grad;

  int64_t whole_inputs() const { return filled(inputs, kDepth); }
  int64_t whole_units() const { return filled(units, kDepth); }
  int64_t depth() const { return whole_inputs() + whole_units(); }
  int64_t slots() const { return kSlots * whole_units(); }
  int64_t seen_width() const { return matrices::spaced(depth(), kDepth); }
  int64_t tiles() const { return first_tile[groups]; }
  int64_t steps(int64_t group) const { return first_step[group + 1] - first_step[group]; }
};

// The threads that walk with a group.
struct Team {
  int64_t rank;
  int64_t size;

  // This one's pieces of `count`.
  matrices::Share share(int64_t count) const { return {count, rank, size}; }
  void wait() const {
    if (size > 1) {
#pragma omp barrier
    }
  }
};

// Every group is walked, by a thread or by all. To be called by all threads of a parallel region.
template <typename Alone, typename Together>
inline void share_groups(const Walk& w, const Alone& alone, const Together& together) {
  const int64_t size = omp_get_num_threads(), single = w.groups / size * size;
  // The longest come first, so that no thread begins them when the others are done.
#pragma omp for schedule(dynamic, 1)
  for (int64_t group = 0; group < single; ++group) alone(group);
  for (int64_t group = single; group < w.groups; ++group)
    together(group, Team{omp_get_thread_num(), size});
}

// One row of a group.
struct Row {
  int64_t number;
  int64_t length;  // 0 where the group has no such row

  Row(const Walk& w, int64_t group, int64_t place) {
    const int64_t rank = group * kRows + place;
    number = rank < w.rows ? w.order[rank] : 0;
    length = rank < w.rows ? w.lengths[number] : 0;
  }

  // Which of the row's inputs a step reads.
  int64_t input(const Walk& w, int64_t step) const {
    return number * w.width + (w.is_reversed ? length - 1 - step : step);
  }
  bool has_state(const Walk& w, int64_t step) const {
    return step < length && (!w.has_last || step == length - 1);
  }
  // Where the state after a step is.
  int64_t state(const Walk& w, int64_t step) const {
    return w.has_last ? number : number * w.width + step;
  }
};

// How many rows of a group a step has: its first, as they are the longest.
inline int64_t rows_at(const Walk& w, int64_t group, int64_t step) {
  int64_t count = 0;
  while (count < kRows && step < Row(w, group, count).length) ++count;
  return count;
}

// The first pair of a group's rows at a step, among all; steps have as many as they have rows for.
inline int64_t first_pair(const Walk& w, int64_t group, int64_t step) {
  int64_t pair = w.first_tile[group] * kTile;
  for (int64_t place = 0; place < kRows; place += 2)
    pair += std::min(step, Row(w, group, place).length);
  return pair;
}

// What stands at padding is nothing.
inline void clear_padding(const Walk& w, int64_t group, int64_t width, float* to) {
  for (int64_t place = 0; place < kRows; ++place) {
    const Row row(w, group, place);
    if (row.length)
      std::fill_n(to + (row.number * w.width + row.length) * width, (w.width - row.length) * width,
                  0.0f);
  }
}

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

// Where sixteen units of a row at a step of a group lie.
struct Place {
  int64_t group;
  int64_t step;
  int64_t row;  // of the group
  int64_t block;
  int64_t pair;  // the step's first, of all

  int64_t number(const Walk& w) const { return (w.first_step[group] + step) * kRows + row; }
  int64_t slots(const Walk& w) const { return number(w) * w.slots() + block * kBlock; }
  int64_t cells(const Walk& w) const { return number(w) * w.whole_units() + block * kTile; }
  // Of the step before, which thirty-two rows lie between.
  int64_t cells_before(const Walk& w) const { return cells(w) - kRows * w.whole_units(); }
  int64_t state_after(const Walk& w) const {
    return (number(w) + kRows) * w.seen_width() + w.whole_inputs() + block * kTile;
  }
};

inline __m512 cells_before(const Walk& w, const Place& at) {
  return at.step ? _mm512_loadu_ps(w.cells + at.cells_before(w)) : _mm512_setzero_ps();
}

}  // namespace walks
