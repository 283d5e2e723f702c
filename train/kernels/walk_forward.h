// A walk: of every step what is seen, and the new state.
#pragma once

#include <cstdint>
#include <cstring>

#include "tiles.h"
#include "walks.h"

namespace walks {

// Tiles for the product of what is seen and the weights: depth by slots. Of a slot of sixteen
// units.
inline void pack_forward(const Walk& w, int64_t block, int64_t slot) {
  Narrow* tiles = w.right + (block * kSlots + slot) * w.depth() * kTile;
  for (const bool is_input : {true, false}) {
    const Part part = part_of(w, is_input);
    const auto weights = [&](int64_t lane) {
      return weights_of(w, is_input, slot, block * kTile + lane);
    };
    for (int64_t step = part.first; step < part.last; ++step)
      matrices::pack_columns(weights, (step - part.first) * kDepth, part.width,
                             tiles + step * kSize);
  }
  for (int64_t lane = 0; lane < kTile; ++lane)
    w.bias[block * kBlock + slot * kTile + lane] = bias_of(w, slot, block * kTile + lane);
}

// What the rows that a step has are given; of the others nothing may reach the weights' gradients.
inline void read_inputs(const Walk& w, int64_t group, int64_t step, const Team& team) {
  Narrow* seen = w.seen + (w.first_step[group] + step) * kRows * w.seen_width();
  const int64_t count = rows_at(w, group, step);
  const matrices::Share share = team.share(kRows);
  for (int64_t place = share.first; place < share.last; ++place) {
    Narrow* here = seen + place * w.seen_width();
    if (place >= count) {
      std::fill_n(here, w.seen_width(), Narrow(0));
      continue;
    }
    const Row row(w, group, place);
    matrices::narrow_row(w.x + row.input(w, step) * w.inputs, w.inputs, w.whole_inputs(), here);
    if (step == 0) std::fill_n(here + w.whole_inputs(), w.whole_units(), Narrow(0));
  }
}

inline void advance(const Walk& w, const Place& at, const float* sums) {
  gates::Units units;
  for (int64_t slot = 0; slot < kSlots; ++slot)
    units.slot[slot] =
        _mm512_add_ps(_mm512_loadu_ps(sums + slot * kTile),
                      _mm512_loadu_ps(w.bias + at.block * kBlock + slot * kTile));
  units.before = cells_before(w, at);
  const gates::State after = gates::advance(w.kind, units);
  for (int64_t slot = 0; slot < kSlots; ++slot)
    _mm512_storeu_ps(w.active + at.slots(w) + slot * kTile, units.slot[slot]);
  _mm512_storeu_ps(w.cells + at.cells(w), after.kept);
  const Row row(w, at.group, at.row);
  if (at.step + 1 < row.length) matrices::narrow(after.hidden, w.seen + at.state_after(w));
  const int64_t unit = at.block * kTile;
  if (unit < w.units && row.has_state(w, at.step))
    _mm512_mask_storeu_ps(w.hidden + row.state(w, at.step) * w.units + unit,
                          numbers::first_lanes(w.units - unit), after.hidden);
}

// One step: while the matrix unit sums up sixteen units, those before get their new state.
inline void step_forward(const Walk& w, int64_t group, int64_t step, const Team& team) {
  alignas(64) float sums[2][kRows * kBlock];
  const Narrow* seen = w.seen + (w.first_step[group] + step) * kRows * w.seen_width();
  const int64_t count = rows_at(w, group, step);
  const auto left = matrices::rows_of(seen, w.seen_width(), count);
  const int64_t depth = w.depth() / kDepth;
  const matrices::Share blocks = team.share(w.whole_units() / kTile);
  // A state of nothing adds nothing.
  const int64_t last = step ? depth : w.whole_inputs() / kDepth;
  const auto advance_part = [&](int64_t block, int64_t part, int64_t parts) {
    const matrices::Share share(count, part, parts);
    for (int64_t row = share.first; row < share.last; ++row)
      advance(w, {group, step, row, block, 0}, sums[block % 2] + row * kBlock);
  };
  for (int64_t block = blocks.first; block < blocks.last; ++block) {
    const Narrow* right = w.right + block * kSlots * depth * kSize;
    for (int64_t half = 0; half < 2; ++half)
      matrices::multiply<false>(
          left, right + half * 2 * depth * kSize, depth, last,
          sums[block % 2] + half * 2 * kTile, kBlock, [&](int64_t part, int64_t parts) {
            if (block > blocks.first) advance_part(block - 1, half * parts + part, 2 * parts);
          });
  }
  if (blocks.first < blocks.last) advance_part(blocks.last - 1, 0, 1);
}

inline void walk_forward(const Walk& w, int64_t group, const Team& team) {
  for (int64_t step = 0; step < w.steps(group); ++step) {
    read_inputs(w, group, step, team);
    team.wait();
    step_forward(w, group, step, team);
  }
  if (!w.has_last && team.rank == 0) clear_padding(w, group, w.units, w.hidden);
}

inline void forward(const Walk& w) {
#pragma omp parallel num_threads(int(w.threads))
  {
    const tiles::Tiles used(true);
#pragma omp for schedule(static)
    for (int64_t column = 0; column < w.slots() / kTile; ++column)
      pack_forward(w, column / kSlots, column % kSlots);
    share_groups(
        w, [&](int64_t group) { walk_forward(w, group, Team{0, 1}); },
        [&](int64_t group, const Team& team) { walk_forward(w, group, team); });
  }
}

}  // namespace walks
