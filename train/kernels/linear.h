// A linear layer over rows, and its gradients.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "matrices.h"
#include "tiles.h"

namespace linear {

using matrices::filled;
using matrices::kDepth;
using matrices::kRows;
using matrices::kSize;
using matrices::kTile;
using matrices::Narrow;

struct Linear {
  int64_t threads;
  int64_t rows;
  int64_t inputs;
  int64_t outputs;
  const float* x;       // (rows, inputs)
  const float* weight;  // (outputs, inputs)
  const float* bias;    // (outputs,)
  Narrow* right;        // room: the weights in tiles, inputs by outputs or the other way round
  float* y;             // (rows, outputs)
  // Backward.
  const float* grad;    // as y
  Narrow* turned;       // room: the gradient in tiles, outputs by rows
  Narrow* seen;         // room: x in tiles, rows by inputs
  float* x_grad;        // as x
  float* weight_grad;   // as weight

  int64_t groups() const { return filled(rows, kRows) / kRows; }
  int64_t whole_inputs() const { return filled(inputs, kRows); }
  int64_t whole_outputs() const { return filled(outputs, kRows); }

  const float* weights_of(int64_t output) const {
    return output < outputs ? weight + output * inputs : nullptr;
  }
};

// One of the two matrices that rows come from or go to.
struct Rows {
  float* first;
  int64_t count;
  int64_t width;

  float* of(int64_t row) const { return row < count ? first + row * width : nullptr; }
};

// Thirty-two rows narrowed into `narrow`, nothing where there is none.
inline void narrow_rows(const Rows& rows, int64_t group, int64_t spaced, Narrow* narrow) {
  const int64_t whole = filled(rows.width, kDepth);
  for (int64_t i = 0; i < kRows; ++i) {
    const float* row = rows.of(group * kRows + i);
    if (row)
      matrices::narrow_row(row, rows.width, whole, narrow + i * spaced);
    else
      std::fill_n(narrow + i * spaced, whole, Narrow(0));
  }
}

// Thirty-two rows by thirty-two columns of `sums`, with the bias where there is one, as far as
// they go.
inline void write(const Rows& rows, int64_t first, int64_t column, const float* sums,
                  const float* bias) {
  for (int64_t i = 0; i < kRows; ++i) {
    float* row = rows.of(first + i);
    if (!row) return;
    for (int64_t at = column; at < std::min(column + kRows, rows.width); at += kTile) {
      const __m512 sum = _mm512_load_ps(sums + i * kRows + at - column);
      const __m512 added = matrices::loaded(bias ? bias + at : bias, rows.width - at);
      _mm512_mask_storeu_ps(row + at, numbers::first_lanes(rows.width - at),
                            _mm512_add_ps(sum, added));
    }
  }
}

// Thirty-two rows, narrowed, times the weights' tiles, `deep` of them to sixteen columns.
inline void multiply(const Linear& w, const matrices::Left& left, int64_t deep, const Rows& to,
                     int64_t group, const float* bias) {
  alignas(64) float sums[kRows * kRows];
  for (int64_t column = 0; column < to.width; column += kRows) {
    matrices::multiply<false>(left, w.right + column / kTile * deep * kSize, deep, deep, sums,
                              kRows, matrices::idle);
    write(to, group * kRows, column, sums, bias);
  }
}

inline void forward(const Linear& w) {
  const int64_t deep = w.whole_inputs() / kDepth;
  const int64_t spaced = matrices::spaced(w.inputs, kDepth);
  const Rows from{const_cast<float*>(w.x), w.rows, w.inputs}, to{w.y, w.rows, w.outputs};
#pragma omp parallel num_threads(int(w.threads))
  {
    const tiles::Tiles used(true);
    std::vector<Narrow> narrow(kRows * spaced);
#pragma omp for schedule(static)
    for (int64_t output = 0; output < w.whole_outputs(); output += kTile)
      for (int64_t step = 0; step < deep; ++step)
        matrices::pack_columns([&](int64_t lane) { return w.weights_of(output + lane); },
                               step * kDepth, w.inputs,
                               w.right + (output / kTile * deep + step) * kSize);
#pragma omp for schedule(static)
    for (int64_t group = 0; group < w.groups(); ++group) {
      narrow_rows(from, group, spaced, narrow.data());
      multiply(w, matrices::rows_of(narrow.data(), spaced), deep, to, group, w.bias);
    }
  }
}

// What thirty-two rows give the weights' gradient: their gradients turned, their inputs in tiles.
inline void keep(const Linear& w, int64_t group, const Narrow* narrow, int64_t spaced) {
  const int64_t deep = w.groups();
  for (int64_t column = 0; column < w.whole_outputs() / kTile; ++column) {
    __m512i rows[kTile];
    matrices::turn_rows(narrow + column * kTile, spaced, rows);
    matrices::store(rows, w.turned + (column * deep + group) * kSize);
  }
  const Rows seen{const_cast<float*>(w.x), w.rows, w.inputs};
  for (int64_t pair = 0; pair < kTile; ++pair) {
    const float* even = seen.of(group * kRows + 2 * pair);
    const float* odd = seen.of(group * kRows + 2 * pair + 1);
    for (int64_t column = 0; column < w.whole_inputs() / kTile; ++column)
      matrices::pack_pair(even, odd, column * kTile, w.inputs,
                          w.seen + (column * deep + group) * kSize + pair * kDepth);
  }
}

// The gradient of the weights from thirty-two inputs to thirty-two outputs.
inline void find_weight_grads(const Linear& w, int64_t output, int64_t input) {
  alignas(64) float sums[kRows * kRows];
  const int64_t deep = w.groups();
  matrices::multiply<false>(matrices::tiled(w.turned + output / kTile * deep * kSize, deep),
                            w.seen + input / kTile * deep * kSize, deep, deep, sums, kRows,
                            matrices::idle);
  write({w.weight_grad, w.outputs, w.inputs}, output, input, sums, nullptr);
}

inline void backward(const Linear& w) {
  const int64_t deep = w.whole_outputs() / kDepth, columns = w.whole_inputs() / kRows;
  const int64_t spaced = matrices::spaced(w.outputs, kDepth);
  const Rows from{const_cast<float*>(w.grad), w.rows, w.outputs}, to{w.x_grad, w.rows, w.inputs};
#pragma omp parallel num_threads(int(w.threads))
  {
    const tiles::Tiles used(true);
    std::vector<Narrow> narrow(kRows * spaced);
#pragma omp for schedule(static)
    for (int64_t output = 0; output < w.whole_outputs(); output += 2)
      for (int64_t column = 0; column < w.whole_inputs() / kTile; ++column)
        matrices::pack_pair(
            w.weights_of(output), w.weights_of(output + 1), column * kTile, w.inputs,
            w.right + (column * deep + output / kDepth) * kSize + output % kDepth * kTile);
#pragma omp for schedule(static)
    for (int64_t group = 0; group < w.groups(); ++group) {
      narrow_rows(from, group, spaced, narrow.data());
      multiply(w, matrices::rows_of(narrow.data(), spaced), deep, to, group, nullptr);
      keep(w, group, narrow.data(), spaced);
    }
#pragma omp for schedule(static)
    for (int64_t task = 0; task < deep * columns; ++task)
      find_weight_grads(w, task / columns * kRows, task % columns * kRows);
  }
}

}  // namespace linear
