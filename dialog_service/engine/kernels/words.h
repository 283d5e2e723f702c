// The next word of each row and its log-probability, from the features of N rows, without the
// N x V scores: of every 64 words the best score and the sum of exponentials are kept, which say in
// which 64 the word is; these are multiplied again.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <vector>

#include "numbers.h"
#include "products.h"

namespace words {

using products::kBlock;
using products::kTile;

struct Call {
  products::Weights weights;
  int64_t has_tiles;
  int64_t threads;
  // Of rows.
  int64_t rows;
  int64_t width;  // of the features; the weights' inputs are at least as many
  const float* features;
  const float* heat;  // 1 / temperature; 0 takes the best word
  const int64_t* top_k;
  const double* top_p;
  const double* uniform;
  const uint8_t* may_end;
  int64_t end_word;
  // Room: rows up to a multiple of 16 with the weights' inputs; rows; (blocks, rows) each; (rows,
  // outputs), or null where no row's top_k or top_p leaves words out.
  uint8_t* levels;
  float* largest;
  float* best;
  float* sums;
  float* heated;
  float* scores;
  // What is found.
  int64_t* words;
  float* log_probs;

  int64_t blocks() const { return weights.outputs / kBlock; }
  bool is_narrowed(int64_t row) const {
    return heat[row] > 0 && (top_k[row] > 0 || top_p[row] < 1);
  }
};

// The scores of 64 words of a row.
struct Block {
  __m512 parts[4];
};

inline Block scored(const Call& call, const int32_t* sums, int64_t row, int64_t block) {
  Block found;
  const __m512 largest = _mm512_set1_ps(call.largest[row]);
  for (int part = 0; part < 4; ++part) {
    const int64_t first = block * kBlock + part * kTile;
    __m512 scores = products::outputs_of(call.weights, sums + part * kTile, first, largest);
    // A reply says something before it ends.
    if (!call.may_end[row] && first <= call.end_word && call.end_word < first + kTile)
      scores = _mm512_mask_mov_ps(scores, __mmask16(1u << (call.end_word - first)),
                                  _mm512_set1_ps(-INFINITY));
    found.parts[part] = scores;
  }
  return found;
}

inline float sum_of_exponentials(const Block& block, float best, float heat) {
  const __m512 centre = _mm512_set1_ps(best), heats = _mm512_set1_ps(heat * numbers::kLog2E);
  __m512 sum = _mm512_setzero_ps();
  for (const __m512 part : block.parts)
    sum = _mm512_add_ps(
        sum, numbers::power_of_two(_mm512_mul_ps(_mm512_sub_ps(part, centre), heats)));
  return _mm512_reduce_add_ps(sum);
}

struct Word {
  float score;
  int32_t word;
};

// Keep the first of the words with the best score, where that is better than what was found before.
inline void keep_likeliest(const Block& found, float best, int64_t block, Word& likeliest) {
  if (!(best > likeliest.score)) return;
  for (int part = 3; part >= 0; --part) {
    const unsigned lanes =
        _mm512_cmp_ps_mask(found.parts[part], _mm512_set1_ps(best), _CMP_EQ_OQ);
    if (lanes)
      likeliest = {best, int32_t(block * kBlock + part * kTile + __builtin_ctz(lanes))};
  }
}

// What is kept of 64 words of a row.
inline void summarise(const Call& call, const int32_t* sums, int64_t row, int64_t block,
                      Word& likeliest) {
  const Block found = scored(call, sums, row, block);
  if (call.scores && call.is_narrowed(row))
    for (int part = 0; part < 4; ++part)
      _mm512_storeu_ps(call.scores + row * call.weights.outputs + block * kBlock + part * kTile,
                       found.parts[part]);
  const __m512 most = _mm512_max_ps(_mm512_max_ps(found.parts[0], found.parts[1]),
                                    _mm512_max_ps(found.parts[2], found.parts[3]));
  // Of a block without words the best is -inf, and nothing may be taken from that.
  const float best = std::max(_mm512_reduce_max_ps(most), -FLT_MAX);
  const int64_t place = block * call.rows + row;
  const float heat = call.heat[row];
  call.best[place] = best;
  call.sums[place] = sum_of_exponentials(found, best, 1.0f);
  if (!(heat > 0))
    keep_likeliest(found, best, block, likeliest);
  else
    call.heated[place] = heat == 1 ? call.sums[place] : sum_of_exponentials(found, best, heat);
}

inline void summarise(const Call& call, int64_t block, Word* likeliest) {
  products::multiply(
      call.weights, call.levels, call.rows, block * kBlock, call.has_tiles,
      [&](const int32_t* sums, int64_t row) { summarise(call, sums, row, block, likeliest[row]); });
}

// One thread's room to choose in, and the choice.
class Chooser {
 public:
  // `likeliest` is what each thread found of each row.
  Chooser(const Call& call, const std::vector<Word>& likeliest)
      : call_(call), likeliest_(likeliest), bests_(call.blocks()), shares_(call.blocks()) {}

  void choose(int64_t row) {
    row_ = row;
    for (int64_t block = 0; block < call_.blocks(); ++block)
      bests_[block] = call_.best[block * call_.rows + row];
    best_ = *std::max_element(bests_.begin(), bests_.end());
    const double total = share(call_.sums, 1.0f);
    const float heat = call_.heat[row];
    Word found{};
    if (!(heat > 0)) {
      found = likeliest();
    } else {
      const double mass = heat == 1 ? total : share(call_.heated, heat);
      found = call_.is_narrowed(row) ? from_likeliest(mass) : from_all(mass);
    }
    call_.words[row] = found.word;
    call_.log_probs[row] = float(double(found.score) - best_ - std::log(total));
  }

 private:
  static bool is_likelier(const Word& one, const Word& other) {
    return one.score != other.score ? one.score > other.score : one.word < other.word;
  }

  // The blocks' sums of exponentials as shares of their total, which it returns; the row's best
  // word weighs 1.
  double share(const float* sums, float heat) {
    const int64_t blocks = bests_.size();
    const __m512 centre = _mm512_set1_ps(best_), heats = _mm512_set1_ps(heat * numbers::kLog2E);
    for (int64_t block = 0; block < blocks; block += kTile) {
      const __mmask16 lanes = numbers::first_lanes(blocks - block);
      const __m512 best = _mm512_maskz_loadu_ps(lanes, &bests_[block]);
      const __m512 centred = _mm512_mul_ps(_mm512_sub_ps(best, centre), heats);
      _mm512_mask_storeu_ps(&shares_[block], lanes, numbers::power_of_two(centred));
    }
    double total = 0;
    for (int64_t block = 0; block < blocks; ++block) {
      shares_[block] *= sums[block * call_.rows + row_];
      total += shares_[block];
    }
    return total;
  }

  // The scores of a block's words again, bit for bit what they were.
  void score(int64_t block, float* scores) const {
    alignas(64) int32_t sums[kBlock];
    const auto& weights = call_.weights;
    products::by_vectors<1>(call_.levels + row_ * weights.inputs, weights.of(block * kBlock),
                            weights.inputs, sums);
    const Block found = scored(call_, sums, row_, block);
    for (int part = 0; part < 4; ++part)
      _mm512_storeu_ps(scores + part * kTile, found.parts[part]);
  }

  // Of all that threads have looked at; the first of equals is meant.
  Word likeliest() const {
    Word found = likeliest_[row_];
    for (size_t at = row_ + call_.rows; at < likeliest_.size(); at += call_.rows)
      if (is_likelier(likeliest_[at], found)) found = likeliest_[at];
    return found;
  }

  // The word at which the cumulative sum passes uniform x total: its block, then inside that.
  Word from_all(double mass) const {
    const double target = call_.uniform[row_] * mass;
    double before = 0;
    size_t block = 0;
    for (; block + 1 < shares_.size() && before + shares_[block] < target; ++block)
      before += shares_[block];
    float scores[kBlock];
    score(block, scores);
    double sum = 0;
    int64_t found = 0;
    // Added up otherwise than its block was, the sum may end a hair below what is looked for; the
    // last word that adds anything is meant then.
    for (int64_t place = 0; place < kBlock && !(sum >= target - before); ++place) {
      const double more = sum + weigh({scores[place], 0});
      if (more > sum) found = place;
      sum = more;
    }
    return {scores[found], int32_t(block * kBlock + found)};
  }

  // Among the top_k likeliest words, those that lead up to a mass of top_p (Holtzman et al. 2020).
  Word from_likeliest(double mass) {
    const int64_t top_k = call_.top_k[row_];
    if (top_k > 0)
      gather_first(top_k);
    else
      gather_heavy(mass);
    double inside = 0;
    for (const Word& word : words_) inside += weigh(word);
    // top_p is a share of the mass that top_k left; the word that crosses it is still in.
    const double limit = call_.top_p[row_] * (top_k > 0 ? inside : mass);
    double kept = 0;
    size_t count = 0;
    while (count < words_.size() && kept < limit) kept += weigh(words_[count++]);
    double left = call_.uniform[row_] * kept;
    size_t found = 0;
    for (; found + 1 < count; ++found) {
      left -= weigh(words_[found]);
      if (left <= 0) break;
    }
    return words_[found];
  }

  double weigh(const Word& word) const {
    return std::exp(double(call_.heat[row_]) * (double(word.score) - best_));
  }

  // The top_k likeliest, in order. The top_k-th best of blocks is no better than that of words.
  void gather_first(int64_t top_k) {
    float least = -FLT_MAX;
    if (top_k <= int64_t(bests_.size())) {
      most_ = bests_;
      std::nth_element(most_.begin(), most_.begin() + (top_k - 1), most_.end(),
                       std::greater<float>());
      least = most_[top_k - 1];
    }
    gather(least);
    if (int64_t(words_.size()) > top_k) {
      std::nth_element(words_.begin(), words_.begin() + top_k, words_.end(), is_likelier);
      words_.resize(top_k);
    }
    std::sort(words_.begin(), words_.end(), is_likelier);
  }

  // Those that have more than 1 - top_p of the mass below them, and few others, in order. Words
  // each of which weighs less than an equal part of what may be left out can all be left out.
  void gather_heavy(double mass) {
    // Sums of floats are not exact to the last digit, so a little more is kept than need be.
    const double outside = 0.9 * (1 - call_.top_p[row_]) * mass;
    gather(score_of(outside / double(call_.weights.outputs)));
    for (size_t before = words_.size() + 1; words_.size() > 64 && words_.size() < before;) {
      before = words_.size();
      double inside = 0;
      for (const Word& word : words_) inside += weigh(word);
      const double still = outside - std::max(mass - inside, 0.0);
      if (still <= 0) break;
      const float least = score_of(still / double(before));
      words_.erase(std::remove_if(words_.begin(), words_.end(),
                                  [least](const Word& word) { return word.score < least; }),
                   words_.end());
      if (words_.size() * 8 > before * 7) break;
    }
    std::sort(words_.begin(), words_.end(), is_likelier);
  }

  // The score of a word of such a weight.
  float score_of(double weight) const {
    return float(best_ + std::log(weight) / double(call_.heat[row_]));
  }

  // The words with at least such a score, in no order; the best word is one of them.
  void gather(float least) {
    words_.clear();
    least = std::max(std::min(least, best_), -FLT_MAX);
    const float* scores = call_.scores + row_ * call_.weights.outputs;
    const __m512 bound = _mm512_set1_ps(least);
    for (size_t block = 0; block < bests_.size(); ++block) {
      if (bests_[block] < least) continue;
      for (int64_t part = 0; part < kBlock; part += kTile) {
        const int64_t first = int64_t(block) * kBlock + part;
        const __m512 here = _mm512_loadu_ps(scores + first);
        unsigned lanes = _mm512_cmp_ps_mask(here, bound, _CMP_GE_OQ);
        for (; lanes; lanes &= lanes - 1) {
          const int64_t word = first + __builtin_ctz(lanes);
          words_.push_back({scores[word], int32_t(word)});
        }
      }
    }
    // Of a row that is no number nothing compares.
    if (words_.empty()) words_.push_back({best_, 0});
  }

  const Call& call_;
  const std::vector<Word>& likeliest_;
  std::vector<float> bests_;
  std::vector<float> shares_;
  std::vector<float> most_;
  std::vector<Word> words_;
  int64_t row_ = 0;
  float best_ = 0;
};

inline void choose(const Call& call) {
  if (call.rows == 0) return;
  const int64_t blocks = call.blocks();
  std::vector<Word> likeliest(call.threads * call.rows, Word{-INFINITY, 0});
#pragma omp parallel num_threads(int(call.threads))
  {
    products::quantise(call.weights, call.features, call.rows, call.width, call.levels,
                       call.largest);
    {
      const tiles::Tiles used(call.has_tiles);
// A thread that something else keeps from its core holds up the others by one piece at most.
#pragma omp for schedule(dynamic, 4)
      for (int64_t block = 0; block < blocks; ++block)
        summarise(call, block, &likeliest[omp_get_thread_num() * call.rows]);
    }
    Chooser chooser(call, likeliest);
#pragma omp for schedule(dynamic, 8)
    for (int64_t row = 0; row < call.rows; ++row) chooser.choose(row);
  }
}

}  // namespace words
