// The way back: of every step the gradients of what it saw; then those of the weights.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "tiles.h"
#include "walks.h"

namespace walks {

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
        const int64_t first = (column - part.first * 2) * kTile;
        matrices::pack_pair(even, odd, first, part.width,
                            w.right + (column * deep + tile) * kSize + pair % kTile * kDepth);
      }
    }
  }
}

// A group's gradients between steps, thirty-two rows each.
struct Carried {
  std::vector<float> seen;    // of what the product saw: the input and the state before
  std::vector<float> cell;    // (32, whole units)
  std::vector<Narrow> slots;  // of two steps, (32, slots and what spaces them) each
  int64_t seen_width;
  int64_t slots_width;

  explicit Carried(const Walk& w)
      : cell(kRows * w.whole_units()),
        seen_width(matrices::spaced(w.depth(), kTile)),
        slots_width(matrices::spaced(w.slots(), kDepth)) {
    seen.resize(kRows * seen_width);
    slots.resize(2 * kRows * slots_width);
  }

  Narrow* slots_of(int64_t step) { return &slots[step % 2 * kRows * slots_width]; }
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

inline Grads of_lstm(const gates::Units& at, __m512 cell, __m512 hidden_grad, __m512 cell_grad) {
  const __m512 *slot = at.slot, squashed = numbers::tanh(cell);
  const __m512 through =
      _mm512_add_ps(times_slope_of_tanh(_mm512_mul_ps(hidden_grad, slot[3]), squashed), cell_grad);
  return {{times_slope_of_sigmoid(_mm512_mul_ps(through, slot[2]), slot[0]),
           times_slope_of_sigmoid(_mm512_mul_ps(through, at.before), slot[1]),
           times_slope_of_tanh(_mm512_mul_ps(through, slot[0]), slot[2]),
           times_slope_of_sigmoid(_mm512_mul_ps(hidden_grad, squashed), slot[3])},
          _mm512_mul_ps(through, slot[1])};
}

inline Grads of_gru(const gates::Units& at, __m512 hidden_grad) {
  const __m512* slot = at.slot;
  const __m512 kept = _mm512_mul_ps(hidden_grad, slot[1]);
  const __m512 candidate = times_slope_of_tanh(_mm512_sub_ps(hidden_grad, kept), slot[2]);
  const __m512 difference = _mm512_sub_ps(at.before, slot[2]);
  return {{times_slope_of_sigmoid(_mm512_mul_ps(candidate, slot[3]), slot[0]),
           times_slope_of_sigmoid(_mm512_mul_ps(hidden_grad, difference), slot[1]), candidate,
           _mm512_mul_ps(candidate, slot[0])},
          kept};
}

inline Grads retreat_row(const Walk& w, const Place& at, Carried& carried) {
  const Row row(w, at.group, at.row);
  const int64_t unit = at.block * kTile;
  float* cell_grad = &carried.cell[at.row * w.whole_units() + unit];
  const float* found = &carried.seen[at.row * carried.seen_width + w.whole_inputs() + unit];
  // A row that is not there yet has nothing to hand on.
  const __m512 nothing = _mm512_setzero_ps();
  if (at.step >= row.length) return {{nothing, nothing, nothing, nothing}, nothing};
  __m512 hidden_grad = nothing;
  if (row.has_state(w, at.step))
    hidden_grad = matrices::loaded(w.grad + row.state(w, at.step) * w.units + unit, w.units - unit);
  const bool goes_on = at.step + 1 < row.length;
  if (goes_on) hidden_grad = _mm512_add_ps(hidden_grad, _mm512_loadu_ps(found));
  const __m512 kept = goes_on ? _mm512_loadu_ps(cell_grad) : _mm512_setzero_ps();
  gates::Units units;
  for (int64_t slot = 0; slot < kSlots; ++slot)
    units.slot[slot] = _mm512_loadu_ps(w.active + at.slots(w) + slot * kTile);
  units.before = cells_before(w, at);
  const Grads grads =
      w.kind == gates::kLstm
          ? of_lstm(units, _mm512_loadu_ps(w.cells + at.cells(w)), hidden_grad, kept)
          : of_gru(units, _mm512_add_ps(hidden_grad, kept));
  _mm512_storeu_ps(cell_grad, grads.carried);
  return grads;
}

// Where the tiles of a slot of sixteen units have a pair's gradients.
inline Narrow* slot_grads_of(const Walk& w, int64_t block, int64_t slot, int64_t pair) {
  return w.slot_grads + (block * kSlots + slot) * w.tiles() * kSize + pair * kDepth;
}

// The slots' gradients of two rows and sixteen units at a step: as rows, as tiles, and added to
// the biases'.
inline void retreat(const Walk& w, const Place& even_row, Carried& carried) {
  const Place& at = even_row;
  if (at.step >= Row(w, at.group, at.row).length) return;
  const Grads even = retreat_row(w, at, carried);
  const Grads odd = retreat_row(w, {at.group, at.step, at.row + 1, at.block, 0}, carried);
  Narrow* rows = carried.slots_of(at.step) + at.row * carried.slots_width + at.block * kBlock;
  float* biases = w.bias_grads + at.group * w.slots() + at.block * kBlock;
  for (int64_t slot = 0; slot < kSlots; ++slot) {
    matrices::narrow(even.slot[slot], rows + slot * kTile);
    matrices::narrow(odd.slot[slot], rows + carried.slots_width + slot * kTile);
    _mm512_storeu_si512(slot_grads_of(w, at.block, slot, at.pair + at.row / 2),
                        matrices::pairs(even.slot[slot], odd.slot[slot]));
    const __m512 both = _mm512_add_ps(even.slot[slot], odd.slot[slot]);
    float* sum = biases + slot * kTile;
    _mm512_storeu_ps(sum, _mm512_add_ps(_mm512_loadu_ps(sum), both));
  }
}

// A part of what thirty-two units have to do at a step.
inline void retreat(const Walk& w, const Place& first, const matrices::Share& share,
                    Carried& carried) {
  for (int64_t piece = share.first; piece < share.last; ++piece)
    retreat(w,
            {first.group, first.step, piece % kTile * 2, first.block + piece / kTile, first.pair},
            carried);
}

// Of the tiles of inputs from `first` to before `last`.
inline void write_input_grads(const Walk& w, const Place& at, const matrices::Share& tiles,
                              const Carried& carried) {
  const int64_t first = tiles.first * kTile, last = std::min(tiles.last * kTile, w.inputs);
  if (first >= last) return;
  for (int64_t place = 0; place < kRows; ++place) {
    const Row row(w, at.group, place);
    if (at.step < row.length)
      std::memcpy(w.x_grad + row.input(w, at.step) * w.inputs + first,
                  &carried.seen[place * carried.seen_width + first],
                  (last - first) * sizeof(float));
  }
}

// What the product saw at a step, tiles of sixteen numbers, turned for the weights' gradients.
inline void turn(const Walk& w, const Place& at, const matrices::Share& columns) {
  const Narrow* seen = w.seen + at.number(w) * w.seen_width();
  const int64_t count = (rows_at(w, at.group, at.step) + 1) / 2;
  for (int64_t column = columns.first; column < columns.last; ++column) {
    __m512i rows[kTile];
    matrices::turn_rows(seen + column * kTile, w.seen_width(), rows);
    matrices::store_lanes(rows, w.turned + column * w.tiles() * kSize, at.pair, count);
  }
}

// Behind a group's last pair its last tile has nothing.
inline void fill_last_tile(const Walk& w, int64_t group, const Team& team) {
  const int64_t end = w.first_tile[group + 1] * kTile;
  const int64_t pair = first_pair(w, group, w.steps(group));
  const matrices::Share blocks = team.share(w.whole_units() / kTile);
  const matrices::Share columns = team.share(w.depth() / kTile);
  for (int64_t slot = blocks.first * kSlots; slot < blocks.last * kSlots; ++slot)
    std::fill_n(slot_grads_of(w, slot / kSlots, slot % kSlots, pair), (end - pair) * kDepth,
                Narrow(0));
  const __m512i nothing[kTile] = {};
  for (int64_t column = columns.first; column < columns.last; ++column)
    matrices::store_lanes(nothing, w.turned + column * w.tiles() * kSize, pair, end - pair);
}

// The gradients of what a step saw, first those of the state: once they are there, thirty-two
// units at a time go on to the step before while the matrix unit works.
inline void step_backward(const Walk& w, const Place& at, const Team& team, Carried& carried) {
  const int64_t deep = w.slots() / kDepth, between = w.whole_inputs() / kTile;
  const auto left = matrices::rows_of(carried.slots_of(at.step), carried.slots_width,
                                      rows_at(w, at.group, at.step));
  const auto multiply = [&](int64_t column, const auto& meanwhile) {
    matrices::multiply<false>(left, w.right + column * deep * kSize, deep, deep,
                              &carried.seen[column * kTile], carried.seen_width, meanwhile);
  };
  // Units that have their gradients and wait to go on.
  int64_t ready = -1;
  const int64_t pair_before = at.step ? first_pair(w, at.group, at.step - 1) : 0;
  const auto go_on = [&](int64_t part, int64_t parts) {
    if (ready >= 0)
      retreat(w, {at.group, at.step - 1, 0, ready, pair_before},
              matrices::Share(kRows, part, parts), carried);
  };
  const matrices::Share units = team.share(at.step ? w.whole_units() / kRows : 0);
  for (int64_t pair = units.first; pair < units.last; ++pair) {
    multiply(between + 2 * pair, go_on);
    ready = 2 * pair;
  }
  const matrices::Share inputs = team.share(between / 2);
  for (int64_t pair = inputs.first; pair < inputs.last; ++pair) {
    multiply(2 * pair, go_on);
    ready = -1;
  }
  go_on(0, 1);
  turn(w, at, team.share(w.depth() / kTile));
  write_input_grads(w, at, {2 * inputs.first, 2 * inputs.last}, carried);
  team.wait();
}

inline void walk_backward(const Walk& w, int64_t group, const Team& team, Carried& carried) {
  const int64_t last = w.steps(group) - 1;
  const matrices::Share units = team.share(w.whole_units() / kRows);
  fill_last_tile(w, group, team);
  for (int64_t pair = units.first; pair < units.last; ++pair) {
    std::fill_n(w.bias_grads + group * w.slots() + pair * 2 * kBlock, 2 * kBlock, 0.0f);
    retreat(w, {group, last, 0, 2 * pair, first_pair(w, group, last)},
            matrices::Share(kRows, 0, 1), carried);
  }
  team.wait();
  for (int64_t step = last; step >= 0; --step)
    step_backward(w, {group, step, 0, 0, first_pair(w, group, step)}, team, carried);
  if (team.rank == 0) clear_padding(w, group, w.inputs, w.x_grad);
}

// Sixteen numbers of what the product saw by a slot of sixteen units, which is what `sums` has;
// the gradient has them the other way round.
inline void write_weight_grads(const Walk& w, int64_t column, int64_t slots, const float* sums) {
  const bool is_input = column * kTile < w.whole_inputs();
  const int64_t first = column * kTile - (is_input ? 0 : w.whole_inputs());
  const int64_t width = is_input ? w.inputs : w.units;
  float* grads = is_input ? w.input_weight_grad : w.hidden_weight_grad;
  const float* weights = is_input ? w.input_weight : w.hidden_weight;
  if (first >= width) return;
  __m512i rows[kTile];
  for (int64_t i = 0; i < kTile; ++i) rows[i] = _mm512_loadu_si512(sums + i * kRows);
  matrices::turn(rows);
  for (int64_t lane = 0; lane < kTile; ++lane) {
    const float* row = weights_of(w, is_input, slots % kSlots, slots / kSlots * kTile + lane);
    if (row)
      _mm512_mask_storeu_epi32(grads + (row - weights) + first,
                               numbers::first_lanes(width - first), rows[lane]);
  }
}

// The weights' gradient: thirty-two numbers of what the product saw by two slots of sixteen units.
inline void find_weight_grads(const Walk& w, int64_t column, int64_t slots) {
  alignas(64) float sums[kRows * kRows];
  const int64_t deep = w.tiles();
  matrices::multiply<false>(matrices::tiled(w.turned + column * deep * kSize, deep),
                            w.slot_grads + slots * deep * kSize, deep, deep, sums, kRows,
                            matrices::idle);
  for (int64_t i = 0; i < 2; ++i)
    for (int64_t j = 0; j < 2; ++j)
      write_weight_grads(w, column + i, slots + j, sums + (i * kRows + j) * kTile);
}

inline void backward(const Walk& w) {
  const int64_t columns = w.depth() / kRows, pairs = w.slots() / kRows;
  Carried shared(w);
#pragma omp parallel num_threads(int(w.threads))
  {
    const tiles::Tiles used(true);
#pragma omp for schedule(static)
    for (int64_t block = 0; block < w.whole_units() / kTile; ++block) pack_backward(w, block);
    Carried own(w);
    share_groups(
        w, [&](int64_t group) { walk_backward(w, group, Team{0, 1}, own); },
        [&](int64_t group, const Team& team) { walk_backward(w, group, team, shared); });
#pragma omp barrier
#pragma omp for schedule(static)
    for (int64_t task = 0; task < columns * pairs; ++task)
      find_weight_grads(w, task / pairs * 2, task % pairs * 2);
  }
}

}  // namespace walks
