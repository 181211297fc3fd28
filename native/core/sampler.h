#pragma once
// Chooses the next token from a row of logits, and reads log-probabilities from it. Double precision
// throughout: a row is read once per generated token, so exactness costs nothing beside the model.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace traitscope {

struct SamplerParams {
    double temperature = 0; ///< 0: the most probable token, the lowest id of equal ones
    int32_t top_k = 0;      ///< the so many most probable ones; 0: all
    double top_p = 1;       ///< the fewest whose probability reaches this
    double min_p = 0;       ///< those at least so probable, relative to the most probable
    uint64_t seed = 0;
};

/// Names the random numbers of one choice, together with the seed. They depend on nothing else, so a sequence
/// gets the same ones in any batch, order or number of threads.
struct RandomKey {
    uint64_t sequence = 0;
    uint32_t draw = 0;
    uint32_t step = 0;
};

/// Philox4x32-10 (Salmon et al. 2011), a random function of counter and key; public for its known answers.
void philox(uint32_t counter[4], uint32_t key0, uint32_t key1);

/// A random word for every token id.
class RandomWords {
  public:
    RandomWords(uint64_t seed, const RandomKey & key);

    uint32_t at(uint32_t id);

  private:
    uint32_t names_[4];
    uint64_t block_ = ~uint64_t{0};
    uint32_t words_[4] = {}; ///< of ids 4 * block_ and the next three
};

/// log of the sum of exp over the row: subtract it from a logit for a log-probability at temperature 1.
double log_sum_exp(const float * logits, size_t n);

/// Throws Compute: logits are NaN or infinite.
[[noreturn]] void fail_not_finite();

/// Throws Compute where logits tell no token from another: a norm over states that overflow leaves zeros.
void refuse_alike(const float * logits, size_t n);

struct Choice {
    int32_t token = 0;
    /// In units of logits: the choice stays as long as none of them moves by half as much. Infinite where
    /// there is nothing else to choose.
    double margin = 0;
};

/// Sampling is a race: every token that is kept gets its logit over the temperature plus a Gumbel number of
/// its own, and the highest wins, which happens as often as the softmax says. Unlike one number on a line of
/// shares, a small change of the logits then moves the choice only where two tokens were about to tie,
/// however many there are.
class Sampler {
  public:
    explicit Sampler(const SamplerParams & params) : params_(params) {}

    /// Throws Compute when a logit is NaN, or all are infinite.
    Choice choose(const float * logits, size_t n, const RandomKey & key);

  private:
    double weight(const float * logits, int32_t id) const;
    void keep_top_k(const float * logits);
    void keep_top_p(const float * logits);
    void keep_min_p(const float * logits);
    void lower_margin(double logits);

    SamplerParams params_;
    // Scratch of one choice.
    std::vector<int32_t> kept_; ///< ids that may be chosen
    double best_ = 0;           ///< the highest logit
    double margin_ = 0;
};

} // namespace traitscope
