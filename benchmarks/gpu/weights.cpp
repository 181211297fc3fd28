#include "weights.h"

#include "core/error.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace traitscope::gpu {

namespace {

constexpr int64_t chunk_bytes = int64_t{32} << 20;

/// One of the well-mixed sequences that a counter gives (SplitMix64): any part of a file can be made alone.
uint64_t mixed(uint64_t x) {
    x += 0x9E3779B97F4A7C15U;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    return x ^ (x >> 31);
}

/// Eight bytes of a kind of number.
uint64_t word(int64_t kind, uint64_t random) {
    constexpr uint64_t each = 0x0001000100010001U;
    if (kind == 0) { // bits are drawn, not rounded: two exponents from 2^-7 on, and the sign
        return (random & (0x8000U * each)) | (0x3C00U * each + (random & (0x00FFU * each)));
    }
    float pair[2] = {1.0F, 1.0F};
    for (int i = 0; kind == 2 && i < 2; ++i) {
        const auto bits = static_cast<int32_t>((random >> (32 * i)) & 0xFFFFFFU);
        pair[i] = static_cast<float>(bits - 0x800000) * (0.02F / 0x800000);
    }
    uint64_t both = 0;
    std::memcpy(&both, pair, sizeof(both));
    return both;
}

bool write_all(int file, const char * data, int64_t size, int64_t at) {
    while (size > 0) {
        const ssize_t n = pwrite(file, data, static_cast<size_t>(size), at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        data += n;
        size -= n;
        at += n;
    }
    return true;
}

struct Chunk {
    int64_t at; ///< in the file
    int64_t size;
    int64_t kind;
};

} // namespace

void write_weights(const CaseFile & spec, const std::string & prefix, uint64_t seed,
                   const std::string & path) {
    const std::vector<uint8_t> header = spec.bytes(prefix + ".header");
    const std::vector<int64_t> fill = spec.long_integers(prefix + ".fill");
    std::vector<Chunk> chunks;
    auto at = static_cast<int64_t>(header.size());
    for (size_t i = 0; i + 1 < fill.size(); i += 2) {
        if (fill[i] % 8 != 0) {
            fail_internal("a tensor of " + std::to_string(fill[i]) + " bytes, expected a multiple of 8");
        }
        for (int64_t left = fill[i]; left > 0; left -= chunk_bytes) {
            chunks.push_back({at, std::min(left, chunk_bytes), fill[i + 1]});
            at += chunks.back().size;
        }
    }
    const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    std::atomic<bool> failed{file < 0};
    std::atomic<size_t> next{0};
    const auto work = [&] {
        std::vector<uint64_t> words(static_cast<size_t>(chunk_bytes) / 8);
        for (size_t i = next++; i < chunks.size() && !failed; i = next++) {
            const auto n = static_cast<size_t>(chunks[i].size) / 8;
            for (size_t k = 0; k < n; ++k) {
                words[k] =
                    word(chunks[i].kind, mixed((seed << 56) + static_cast<uint64_t>(chunks[i].at) + 8 * k));
            }
            if (!write_all(file, reinterpret_cast<const char *>(words.data()), chunks[i].size,
                           chunks[i].at)) {
                failed = true;
            }
        }
    };
    if (!failed && !write_all(file, reinterpret_cast<const char *>(header.data()),
                              static_cast<int64_t>(header.size()), 0)) {
        failed = true;
    }
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < std::clamp(std::thread::hardware_concurrency(), 1U, 16U); ++i) {
        threads.emplace_back(work);
    }
    for (std::thread & thread : threads) {
        thread.join();
    }
    if (file < 0 || close(file) != 0 || failed) {
        fail_internal("could not write " + path + ": " + std::strerror(errno));
    }
}

} // namespace traitscope::gpu
