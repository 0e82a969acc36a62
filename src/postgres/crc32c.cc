#include "postgres/crc32c.h"

#include <array>
#include <cstring>

#include "postgres/little_endian.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// A CRC is a polynomial over GF(2) modulo P. Here as everywhere with this CRC it stands reflected:
// the coefficient of x^i is bit 31 - i. To go on over n zero bytes is to multiply by x^8n; from
// this follow combining, zeros, and summing three stretches side by side.

namespace holdfast::postgres {
namespace {

constexpr std::uint32_t kPolynomial = 0x82F63B78;

constexpr std::uint32_t times_x(std::uint32_t a) {
  return a >> 1 ^ ((a & 1) != 0 ? kPolynomial : 0);
}

constexpr std::uint32_t multiply(std::uint32_t a, std::uint32_t b) {
  std::uint32_t product = 0;
  for (std::uint32_t bit = 1U << 31; bit != 0; bit >>= 1) {
    product ^= (a & bit) != 0 ? b : 0;
    b = times_x(b);
  }
  return product;
}

// x^(2^k)
constexpr auto kPowers = [] {
  std::array<std::uint32_t, 67> powers{};
  powers[0] = 1U << 30;
  for (std::size_t k = 1; k < powers.size(); ++k) {
    powers[k] = multiply(powers[k - 1], powers[k - 1]);
  }
  return powers;
}();

// x^(n × 2^k), for k <= 3
constexpr std::uint32_t power_of_x(std::uint64_t n, std::size_t k) {
  std::uint32_t power = 1U << 31;
  for (; n != 0; n >>= 1, ++k) {
    if ((n & 1) != 0) {
      power = multiply(power, kPowers[k]);
    }
  }
  return power;
}

// kTables[k][b]: the byte b followed by k zero bytes.
constexpr auto kTables = [] {
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (auto& table : tables) {
      for (int bit = 0; bit < 8; ++bit) {
        crc = times_x(crc);
      }
      table[byte] = crc;
    }
  }
  return tables;
}();

// From here `state` is the CRC before its final inversion.

std::uint32_t update_by_table(std::uint32_t state, base::ByteView bytes) {
  const std::uint8_t* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; at += 8, left -= 8) {
    const std::uint64_t word = load<std::uint64_t>(at) ^ state;
    state = 0;
    for (std::size_t k = 0; k < 8; ++k) {
      state ^= kTables[7 - k][word >> (8 * k) & 0xFF];
    }
  }
  for (; left > 0; ++at, --left) {
    state = state >> 8 ^ kTables[0][(state ^ *at) & 0xFF];
  }
  return state;
}

#if defined(__x86_64__)
#define HOLDFAST_HARDWARE __attribute__((target("sse4.2,pclmul")))

// The instruction takes three cycles but can start one in each, so three stretches run side by
// side.
constexpr std::size_t kStretch = 1024;

// state × x^8n. The product of two reflected polynomials comes out multiplied by x, and the
// reduction by the CRC instruction multiplies by x^32; so `factor` is x^(8n - 33).
HOLDFAST_HARDWARE inline std::uint64_t shift(std::uint64_t state, std::uint32_t factor) {
  const __m128i product =
      _mm_clmulepi64_si128(_mm_cvtsi64_si128(static_cast<long long>(state)),
                           _mm_cvtsi64_si128(static_cast<long long>(factor)), 0);
  return _mm_crc32_u64(0, static_cast<std::uint64_t>(_mm_cvtsi128_si64(product)));
}

HOLDFAST_HARDWARE std::uint32_t update_by_hardware(std::uint32_t state32, base::ByteView bytes) {
  constexpr std::uint32_t kOverOne = power_of_x(8 * kStretch - 33, 0);
  constexpr std::uint32_t kOverTwo = power_of_x(16 * kStretch - 33, 0);
  const std::uint8_t* at = bytes.data();
  std::size_t left = bytes.size();
  std::uint64_t state = state32;
  for (; left >= 3 * kStretch; at += 3 * kStretch, left -= 3 * kStretch) {
    std::uint64_t second = 0;
    std::uint64_t third = 0;
    for (std::size_t i = 0; i < kStretch; i += 8) {
      state = _mm_crc32_u64(state, load<std::uint64_t>(at + i));
      second = _mm_crc32_u64(second, load<std::uint64_t>(at + i + kStretch));
      third = _mm_crc32_u64(third, load<std::uint64_t>(at + i + 2 * kStretch));
    }
    state = shift(state, kOverTwo) ^ shift(second, kOverOne) ^ third;
  }
  for (; left >= 8; at += 8, left -= 8) {
    state = _mm_crc32_u64(state, load<std::uint64_t>(at));
  }
  for (; left > 0; ++at, --left) {
    state = _mm_crc32_u8(static_cast<std::uint32_t>(state), *at);
  }
  return static_cast<std::uint32_t>(state);
}

#undef HOLDFAST_HARDWARE
#endif

}  // namespace

std::uint32_t crc32c(std::uint32_t crc_so_far, base::ByteView bytes) {
#if defined(__x86_64__)
  static const bool has_hardware =
      __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
  if (has_hardware) {
    return ~update_by_hardware(~crc_so_far, bytes);
  }
#endif
  return crc32c_portable(crc_so_far, bytes);
}

std::uint32_t crc32c_portable(std::uint32_t crc_so_far, base::ByteView bytes) {
  return ~update_by_table(~crc_so_far, bytes);
}

std::uint32_t crc32c_combine(std::uint32_t first, std::uint32_t second,
                             std::uint64_t second_length) {
  return multiply(power_of_x(second_length, 3), first) ^ second;
}

std::uint32_t crc32c_of_zeros(std::uint64_t length) {
  return ~multiply(power_of_x(length, 3), ~std::uint32_t{0});
}

}  // namespace holdfast::postgres
