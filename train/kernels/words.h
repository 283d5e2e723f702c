// The cross-entropy of a linear layer over the words, and its gradients, without the N x V scores:
// every score is made once, in registers, relative to that of the row's target, so that its power
// is a share of the sum whose logarithm is the row's loss.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "matrices.h"
#include "tiles.h"

namespace words {

using matrices::filled;
using matrices::kDepth;
using matrices::kRows;
using matrices::kSize;
using matrices::kTile;
using matrices::Narrow;

constexpr int64_t kChunk = 256;  // words that a thread takes together
// So far above its target no score is told apart from a higher one; 20,000 powers still add up.
constexpr float kMostNats = 60.0f;

struct Words {
  int64_t threads;
  int64_t rows;
  int64_t width;  // of the features
  int64_t words;
  int64_t part;  // rows that are taken together, a multiple of 32
  const float* features;
  const float* weight;  // (words, width)
  const float* bias;
  const int64_t* targets;
  // Room.
  Narrow* narrow;        // (whole rows, whole width and what spaces it): the features
  float* powers_of_two;  // (whole rows + whole words,): the targets' scores and the words' biases
  Narrow* scaled;        // in tiles, part by width: the features over their rows' sums
  Narrow* powers;        // in tiles, part by words
  Narrow* shares;        // (part,) one over the rows' sums
  float* sums;           // (chunks, part)
  float* grads;          // (threads, part, whole width)
  // What is found.
  float* target_scores;  // (rows,)
  float* nats;           // (rows,)
  float* features_grad;  // (rows, width), that of the sum of exponentials alone
  float* weight_grad;    // (words, width), likewise
  float* bias_grad;      // (words,), likewise
  float scale;           // of the gradients

  int64_t whole_rows() const { return filled(rows, kRows); }
  int64_t whole_width() const { return filled(width, kDepth); }
  int64_t whole_words() const { return filled(words, kChunk); }
  int64_t chunks() const { return whole_words() / kChunk; }
  int64_t narrow_width() const { return matrices::spaced(width, kDepth); }
  float* target_powers() const { return powers_of_two; }
  float* bias_powers() const { return powers_of_two + whole_rows(); }

  const float* weights_of(int64_t word) const {
    return word < words ? weight + word * width : nullptr;
  }
};

// A chunk of words: their weights in tiles, width by words and words by width.
struct Chunk {
  constexpr static int64_t kDeep = kChunk / kDepth;  // tiles of words by width
  std::vector<Narrow> forward;
  std::vector<Narrow> backward;
  int64_t first = 0;

  explicit Chunk(const Words& w)
      : forward(kChunk * w.whole_width()), backward(kChunk * w.whole_width()) {}

  void pack(const Words& w, int64_t number) {
    first = number * kChunk;
    const int64_t depth = w.whole_width() / kDepth;
    for (int64_t word = 0; word < kChunk; word += kTile)
      for (int64_t step = 0; step < depth; ++step)
        matrices::pack_columns([&](int64_t lane) { return w.weights_of(first + word + lane); },
                               step * kDepth, w.width,
                               &forward[(word / kTile * depth + step) * kSize]);
    for (int64_t word = 0; word < kChunk; word += 2)
      for (int64_t column = 0; column < w.whole_width() / kTile; ++column)
        matrices::pack_pair(
            w.weights_of(first + word), w.weights_of(first + word + 1), column * kTile, w.width,
            &backward[(column * kDeep + word / kDepth) * kSize + word % kDepth * kTile]);
  }
};

inline __m512 rounded(__m512 x) {
  const __m512i wide = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

// A row's features narrowed, and its target's score from what the tiles will multiply.
inline void read_row(const Words& w, int64_t row) {
  Narrow* narrow = w.narrow + row * w.narrow_width();
  if (row >= w.rows) {
    std::fill_n(narrow, w.narrow_width(), Narrow(0));
    w.target_powers()[row] = INFINITY;
    return;
  }
  const float* features = w.features + row * w.width;
  matrices::narrow_row(features, w.width, w.whole_width(), narrow);
  const int64_t target = w.targets[row];
  __m512 sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < w.width; i += kTile)
    sum = _mm512_fmadd_ps(rounded(matrices::loaded(features + i, w.width - i)),
                          rounded(matrices::loaded(w.weights_of(target) + i, w.width - i)), sum);
  w.target_scores[row] = _mm512_reduce_add_ps(sum) + w.bias[target];
  w.target_powers()[row] = w.target_scores[row] * numbers::kLog2E;
}

// Some rows whose powers are held at once.
struct Part {
  int64_t first;
  int64_t count;

  int64_t whole() const { return filled(count, kRows); }
};

// The powers of thirty-two rows and thirty-two words: into tiles of rows by words, into rows for
// the product with the weights, and onto the rows' sums.
struct Powers {
  const float* scores;  // (32, 32)
  Narrow* rows;         // (32, chunk and what spaces it)
  float* sums;          // (32, 16), to be added up
  int64_t row;          // the first, of the part
  int64_t word;         // the first
};
constexpr int64_t kPowersWidth = matrices::spaced(kChunk, kDepth);

inline __m512 powers_of(const Words& w, const float* scores, int64_t word, __m512 target) {
  const __m512 above = _mm512_sub_ps(_mm512_loadu_ps(w.bias_powers() + word), target);
  const __m512 power = _mm512_fmadd_ps(_mm512_loadu_ps(scores),
                                       _mm512_set1_ps(numbers::kLog2E), above);
  return numbers::power_of_two(
      _mm512_min_ps(power, _mm512_set1_ps(kMostNats * numbers::kLog2E)));
}

// Of two rows.
inline void raise(const Words& w, const Part& part, const Powers& at, int64_t pair) {
  const int64_t deep = part.whole() / kRows;
  __m512 power[2][2];
  for (int64_t side = 0; side < 2; ++side) {
    const int64_t row = 2 * pair + side;
    const __m512 target = _mm512_set1_ps(w.target_powers()[part.first + at.row + row]);
    for (int64_t half = 0; half < 2; ++half)
      power[side][half] = powers_of(w, at.scores + row * kRows + half * kTile,
                                    at.word + half * kTile, target);
    float* sum = at.sums + row * kTile;
    const __m512 both = _mm512_add_ps(power[side][0], power[side][1]);
    _mm512_storeu_ps(sum, _mm512_add_ps(_mm512_loadu_ps(sum), both));
    _mm512_storeu_si512(at.rows + row * kPowersWidth + at.word % kChunk,
                        (__m512i)_mm512_cvtne2ps_pbh(power[side][1], power[side][0]));
  }
  for (int64_t half = 0; half < 2; ++half)
    _mm512_storeu_si512(
        w.powers + ((at.word / kTile + half) * deep + at.row / kRows) * kSize + pair * kDepth,
        matrices::pairs(power[0][half], power[1][half]));
}

// A chunk of words for thirty-two rows: while the matrix unit scores thirty-two words, those
// before are raised.
inline void score_rows(const Words& w, const Part& part, const Chunk& chunk, int64_t row,
                       Narrow* rows) {
  alignas(64) float scores[2][kRows * kRows];
  alignas(64) float sums[kRows * kTile] = {};
  const int64_t depth = w.whole_width() / kDepth;
  const auto left =
      matrices::rows_of(w.narrow + (part.first + row) * w.narrow_width(), w.narrow_width());
  const auto raise_part = [&](int64_t word, const matrices::Share& share) {
    const Powers at{scores[word / kRows % 2], rows, sums, row, chunk.first + word};
    for (int64_t pair = share.first; pair < share.last; ++pair) raise(w, part, at, pair);
  };
  for (int64_t word = 0; word < kChunk; word += kRows)
    matrices::multiply<false>(
        left, &chunk.forward[word / kTile * depth * kSize], depth, depth,
        scores[word / kRows % 2], kRows, [&](int64_t i, int64_t parts) {
          if (word) raise_part(word - kRows, matrices::Share(kTile, i, parts));
        });
  raise_part(kChunk - kRows, matrices::Share(kTile, 0, 1));
  for (int64_t i = 0; i < kRows; ++i)
    w.sums[chunk.first / kChunk * w.part + row + i] = _mm512_reduce_add_ps(_mm512_load_ps(sums + i * kTile));
}

// A chunk of words for every row of a part, and what this thread adds to the features' gradient.
inline void score(const Words& w, const Part& part, const Chunk& chunk, float* grads) {
  alignas(64) Narrow rows[kRows * kPowersWidth];
  const auto powers = matrices::rows_of(rows, kPowersWidth);
  for (int64_t row = 0; row < part.whole(); row += kRows) {
    score_rows(w, part, chunk, row, rows);
    for (int64_t column = 0; column < w.whole_width() / kTile; column += 2)
      matrices::multiply<true>(powers, &chunk.backward[column * Chunk::kDeep * kSize],
                               Chunk::kDeep, Chunk::kDeep,
                               grads + row * w.whole_width() + column * kTile, w.whole_width(),
                               matrices::idle);
  }
}

// A row's loss; what its powers are multiplied with to be its share of the gradients.
inline float finish_row(const Words& w, const Part& part, int64_t row) {
  const int64_t number = part.first + row;
  Narrow narrow[kTile] = {};
  float share = 0;
  if (number < w.rows) {
    float sum = 0;
    for (int64_t chunk = 0; chunk < w.chunks(); ++chunk) sum += w.sums[chunk * w.part + row];
    w.nats[number] = std::log(sum);
    share = w.scale / sum;
    matrices::narrow(_mm512_set1_ps(share), narrow);
  }
  w.shares[row] = narrow[0];
  return share;
}

// Sixteen features of a row times its share, and their gradient.
inline __m512 finish_features(const Words& w, const Part& part, int64_t row, int64_t first,
                              float share) {
  const int64_t number = part.first + row;
  if (number >= w.rows) return _mm512_setzero_ps();
  __m512 grad = _mm512_setzero_ps();
  for (int64_t thread = 0; thread < omp_get_num_threads(); ++thread)
    grad = _mm512_add_ps(
        grad, _mm512_loadu_ps(w.grads + (thread * w.part + row) * w.whole_width() + first));
  const __m512 shares = _mm512_set1_ps(share);
  const int64_t left = w.width - first, at = number * w.width + first;
  if (left > 0)
    _mm512_mask_storeu_ps(w.features_grad + at, numbers::first_lanes(left),
                          _mm512_mul_ps(grad, shares));
  return _mm512_mul_ps(matrices::loaded(w.features + at, left), shares);
}

// Two rows' losses, their features' gradients, and their features over their sums.
inline void finish_rows(const Words& w, const Part& part, int64_t row) {
  const int64_t deep = part.whole() / kRows;
  const float even = finish_row(w, part, row), odd = finish_row(w, part, row + 1);
  for (int64_t first = 0; first < w.whole_width(); first += kTile)
    _mm512_storeu_si512(
        w.scaled + (first / kTile * deep + row / kRows) * kSize + row % kRows * kTile,
        matrices::pairs(finish_features(w, part, row, first, even),
                        finish_features(w, part, row + 1, first, odd)));
}

inline void add_bias_grad(const Words& w, const Part& part, int64_t word) {
  if (word >= w.words) return;
  const int64_t deep = part.whole() / kRows;
  __m512 sum = _mm512_setzero_ps();
  for (int64_t row = 0; row < part.whole(); row += 2) {
    int32_t share;
    std::memcpy(&share, w.shares + row, sizeof share);
    const __m512i powers = _mm512_loadu_si512(
        w.powers + (word / kTile * deep + row / kRows) * kSize + row % kRows * kTile);
    sum = _mm512_dpbf16_ps(sum, (__m512bh)powers, (__m512bh)_mm512_set1_epi32(share));
  }
  const __m512 before = part.first ? matrices::loaded(w.bias_grad + word, w.words - word)
                                   : _mm512_setzero_ps();
  _mm512_mask_storeu_ps(w.bias_grad + word, numbers::first_lanes(w.words - word),
                        _mm512_add_ps(before, sum));
}

// Thirty-two words by thirty-two of their weights: `sums` onto the gradient.
inline void add_weights(const Words& w, const Part& part, int64_t word, int64_t column,
                        const float* sums) {
  for (int64_t row = 0; row < std::min(kRows, w.words - word); ++row)
    for (int64_t at = column; at < std::min(column + kRows, w.width); at += kTile) {
      float* grad = w.weight_grad + (word + row) * w.width + at;
      const __m512 sum = _mm512_load_ps(sums + row * kRows + at - column);
      const __m512 before = part.first ? matrices::loaded(grad, w.width - at)
                                       : _mm512_setzero_ps();
      _mm512_mask_storeu_ps(grad, numbers::first_lanes(w.width - at), _mm512_add_ps(before, sum));
    }
}

// The gradient of thirty-two words' weights: their powers, turned in `room`, by the features.
inline void add_weight_grad(const Words& w, const Part& part, int64_t word, Narrow* room) {
  const int64_t deep = part.whole() / kRows;
  const Narrow* powers = w.powers + word / kTile * deep * kSize;
  for (int64_t tile = 0; tile < 2 * deep; ++tile) {
    __m512i rows[kTile];
    for (int64_t i = 0; i < kTile; ++i)
      rows[i] = _mm512_loadu_si512(powers + tile * kSize + i * kDepth);
    matrices::turn(rows);
    matrices::store(rows, room + tile * kSize);
  }
  alignas(64) float sums[kRows * kRows];
  for (int64_t column = 0; column < w.whole_width(); column += kRows) {
    matrices::multiply<false>(matrices::tiled(room, deep), w.scaled + column / kTile * deep * kSize,
                              deep, deep, sums, kRows, matrices::idle);
    add_weights(w, part, word, column, sums);
  }
  add_bias_grad(w, part, word);
  add_bias_grad(w, part, word + kTile);
}

inline void add_part(const Words& w, const Part& part) {
  const int64_t thread = omp_get_thread_num(), whole = w.part * w.whole_width();
  float* grads = w.grads + thread * whole;
  std::fill_n(grads, whole, 0.0f);
  Chunk chunk(w);
#pragma omp for schedule(static)
  for (int64_t number = 0; number < w.chunks(); ++number) {
    chunk.pack(w, number);
    score(w, part, chunk, grads);
  }
#pragma omp for schedule(static)
  for (int64_t row = 0; row < part.whole(); row += 2) finish_rows(w, part, row);
  std::vector<Narrow> room(2 * part.whole() * kTile);
#pragma omp for schedule(static)
  for (int64_t word = 0; word < w.whole_words(); word += kRows)
    add_weight_grad(w, part, word, room.data());
}

inline void cross_entropy(const Words& w) {
#pragma omp parallel num_threads(int(w.threads))
  {
    const tiles::Tiles used(true);
// What is no word has no power.
#pragma omp for schedule(static) nowait
    for (int64_t word = 0; word < w.whole_words(); ++word)
      w.bias_powers()[word] = word < w.words ? w.bias[word] * numbers::kLog2E : -INFINITY;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < w.whole_rows(); ++row) read_row(w, row);
    for (int64_t first = 0; first < w.rows; first += w.part)
      add_part(w, {first, std::min(w.part, w.rows - first)});
  }
}

}  // namespace words
