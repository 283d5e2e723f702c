// What a training step needs of a processor with matrix units for bfloat16. Compiled when first
// needed.
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,amx-tile,amx-bf16,fma")

#include "dropout.h"
#include "linear.h"
#include "tiles.h"
#include "walk_backward.h"
#include "walk_forward.h"
#include "words.h"

extern "C" {

// Whether the system gives a program the room that matrix units need.
int allow_tiles() { return tiles::allow(); }

void walk_forward(const walks::Walk* walk) { walks::forward(*walk); }

void walk_backward(const walks::Walk* walk) { walks::backward(*walk); }

void linear_forward(const linear::Linear* call) { linear::forward(*call); }

void linear_backward(const linear::Linear* call) { linear::backward(*call); }

void drop_out(const dropout::Dropout* call) { dropout::drop_out(*call); }

void cross_entropy(const words::Words* words) { words::cross_entropy(*words); }

}  // extern "C"
