#pragma once
// A device computes on until somebody waits for it, and hears of no abort meanwhile. Between two blocks it is
// made to wait so often that an abort is noticed and progress is seen, and so rarely that it costs next to
// nothing.

#include <chrono>
#include <cstdint>

namespace traitscope {

class Pause {
  public:
    /// Seconds between two of them; a block that takes longer is not interrupted.
    static constexpr double interval = 0.1;

    /// Before a decode of so many tokens.
    void begin(size_t n_tokens) {
        n_tokens_ = n_tokens;
        last_block_ = -1;
        since_ = clock::now();
    }

    /// Whether to wait at the end of this block.
    bool due(int32_t block) const {
        const double blocks = block - last_block_;
        return blocks * static_cast<double>(n_tokens_) * rate_ >= interval;
    }

    /// The device is done with this block.
    void passed(int32_t block) {
        const auto now = clock::now();
        const double work = static_cast<double>(block - last_block_) * static_cast<double>(n_tokens_);
        rate_ = std::chrono::duration<double>(now - since_).count() / work;
        last_block_ = block;
        since_ = now;
    }

  private:
    using clock = std::chrono::steady_clock;

    size_t n_tokens_ = 0;
    int32_t last_block_ = -1;
    clock::time_point since_;
    /// Seconds a block and token, of those that passed last. At first nobody knows: wait at once.
    double rate_ = 1e9;
};

} // namespace traitscope
