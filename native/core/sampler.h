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

/// Names one random number of a seed. It depends on nothing else, so a sequence gets the same numbers in any
/// batch, order or number of threads.
struct RandomKey {
    uint64_t sequence = 0;
    uint32_t draw = 0;
    uint32_t step = 0;
};

/// Uniform in [0, 1), of 53 random bits: Philox4x32-10 (Salmon et al. 2011) with the seed as its key.
double uniform(uint64_t seed, const RandomKey & key);

/// The four words that `uniform` takes two of; public for its known answers.
void philox(uint32_t counter[4], uint32_t key0, uint32_t key1);

/// log of the sum of exp over the row: subtract it from a logit for a log-probability at temperature 1.
double log_sum_exp(const float * logits, size_t n);

/// Throws Compute: logits are NaN or infinite.
[[noreturn]] void fail_not_finite();

struct Choice {
    int32_t token = 0;
    /// How much the probabilities must move before another token is chosen. Greedy: of the best above the
    /// second at temperature 1. Sampled: distance of the random number to the edges of the token's share, and
    /// of what decides which tokens are kept.
    double margin = 0;
};

class Sampler {
  public:
    explicit Sampler(const SamplerParams & params) : params_(params) {}

    /// Throws Compute when a logit is NaN, or all are infinite.
    Choice choose(const float * logits, size_t n, const RandomKey & key, bool wants_margin);

  private:
    Choice greedy(const float * logits, size_t n, size_t best, bool wants_margin) const;
    void keep_top_k();
    void keep_top_p();
    void keep_min_p();
    void lower_margin(double weight);

    SamplerParams params_;
    // Scratch of one choice.
    std::vector<double> weights_; ///< [n] relative to the most probable token's
    std::vector<int32_t> kept_;   ///< ids that may still be chosen
    double total_ = 0;            ///< weight of all tokens
    double margin_ = 0;           ///< in weight
};

} // namespace traitscope
