// A thread's use of its matrix unit, where the processor has one (Intel AMX).
#pragma once

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace tiles {

// The shape of all eight tiles of a matrix unit: sixteen rows of 64 bytes.
struct alignas(64) Shape {
  uint8_t palette = 1;
  uint8_t start = 0;
  uint8_t reserved[14] = {};
  uint16_t column_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
// A constant: of one on the stack the compiler sees eight bytes read, and leaves out the others.
inline constexpr Shape kShape;

// For as long as it lives, this thread has tiles of that shape.
class Tiles {
 public:
  explicit Tiles(bool is_used) : is_used_(is_used) {
    if (is_used_) _tile_loadconfig(&kShape);
  }
  ~Tiles() {
    if (is_used_) _tile_release();
  }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

 private:
  bool is_used_;
};

// Ask the system for the room that matrix units need; whether it was given.
inline bool allow() {
  constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

}  // namespace tiles
