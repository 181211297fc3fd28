#include "core/sampler.h"

#include "core/error.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace traitscope {

void philox(uint32_t counter[4], uint32_t key0, uint32_t key1) {
    for (int round = 0; round < 10; ++round) {
        const uint64_t a = uint64_t{0xD2511F53} * counter[0];
        const uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
        const uint32_t next[4] = {
            static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key0, static_cast<uint32_t>(b),
            static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key1, static_cast<uint32_t>(a)};
        std::copy(next, next + 4, counter);
        key0 += 0x9E3779B9;
        key1 += 0xBB67AE85;
    }
}

double uniform(uint64_t seed, const RandomKey & key) {
    uint32_t words[4] = {key.step, key.draw, static_cast<uint32_t>(key.sequence),
                         static_cast<uint32_t>(key.sequence >> 32)};
    philox(words, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
    const uint64_t bits = (uint64_t{words[0]} << 32 | words[1]) >> 11;
    return static_cast<double>(bits) * 0x1p-53;
}

void fail_not_finite() {
    throw Error(ErrorCode::Compute,
                "the logits are not finite: the model, an adapter or a control vector holds NaN "
                "or infinite values, or its values overflow");
}

double log_sum_exp(const float * logits, size_t n) {
    const auto best = static_cast<double>(*std::max_element(logits, logits + n));
    double sum = 0;
    for (size_t i = 0; i < n; ++i) {
        sum += std::exp(static_cast<double>(logits[i]) - best);
    }
    return best + std::log(sum);
}

namespace {

/// The most probable token, the lowest id of equal ones.
size_t best_of(const float * logits, size_t n) {
    size_t best = 0;
    bool is_number = true;
    for (size_t i = 0; i < n; ++i) {
        is_number = is_number && !std::isnan(logits[i]);
        best = logits[i] > logits[best] ? i : best;
    }
    if (!is_number || !std::isfinite(logits[best])) {
        fail_not_finite();
    }
    return best;
}

} // namespace

Choice Sampler::greedy(const float * logits, size_t n, size_t best, bool wants_margin) const {
    Choice choice{static_cast<int32_t>(best), 0};
    if (wants_margin) {
        auto second = -std::numeric_limits<float>::infinity();
        for (size_t i = 0; i < n; ++i) {
            second = i == best ? second : std::max(second, logits[i]);
        }
        const double all = log_sum_exp(logits, n);
        choice.margin =
            std::exp(static_cast<double>(logits[best]) - all) - std::exp(static_cast<double>(second) - all);
    }
    return choice;
}

void Sampler::lower_margin(double weight) {
    margin_ = std::min(margin_, weight);
}

/// More probable first; equal ones by id.
static bool before(const std::vector<double> & weights, int32_t a, int32_t b) {
    const double of_a = weights[static_cast<size_t>(a)];
    const double of_b = weights[static_cast<size_t>(b)];
    return of_a != of_b ? of_a > of_b : a < b;
}

void Sampler::keep_top_k() {
    const auto k = static_cast<std::ptrdiff_t>(params_.top_k);
    if (k <= 0 || k >= static_cast<std::ptrdiff_t>(kept_.size())) {
        return;
    }
    const auto by_weight = [&](int32_t a, int32_t b) { return before(weights_, a, b); };
    std::nth_element(kept_.begin(), kept_.begin() + k, kept_.end(), by_weight);
    const int32_t last = *std::max_element(kept_.begin(), kept_.begin() + k, by_weight);
    lower_margin(weights_[static_cast<size_t>(last)] -
                 weights_[static_cast<size_t>(kept_[static_cast<size_t>(k)])]);
    kept_.resize(static_cast<size_t>(k));
}

void Sampler::keep_top_p() {
    if (params_.top_p >= 1) {
        return;
    }
    const double total = std::accumulate(kept_.begin(), kept_.end(), 0.0, [&](double sum, int32_t id) {
        return sum + weights_[static_cast<size_t>(id)];
    });
    const double wanted = params_.top_p * total;
    const auto by_weight = [&](int32_t a, int32_t b) { return before(weights_, a, b); };
    // Few tokens reach it as a rule: sort no more than needed.
    double sum = 0;
    size_t n = 0;
    for (size_t sorted = 0; sum < wanted && n < kept_.size();) {
        const size_t until = std::min(kept_.size(), std::max<size_t>(64, 8 * sorted));
        std::partial_sort(kept_.begin() + static_cast<std::ptrdiff_t>(sorted),
                          kept_.begin() + static_cast<std::ptrdiff_t>(until), kept_.end(), by_weight);
        for (sorted = until; sum < wanted && n < sorted; ++n) {
            const double weight = weights_[static_cast<size_t>(kept_[n])];
            lower_margin(std::abs(wanted - sum));
            sum += weight;
        }
    }
    lower_margin(std::abs(sum - wanted));
    if (n < kept_.size()) {
        const auto next =
            *std::min_element(kept_.begin() + static_cast<std::ptrdiff_t>(n), kept_.end(), by_weight);
        lower_margin(weights_[static_cast<size_t>(kept_[n - 1])] - weights_[static_cast<size_t>(next)]);
        kept_.resize(n);
    }
}

void Sampler::keep_min_p() {
    if (params_.min_p <= 0) {
        return;
    }
    const auto dropped = std::remove_if(kept_.begin(), kept_.end(), [&](int32_t id) {
        const double weight = weights_[static_cast<size_t>(id)]; // the most probable token weighs 1
        lower_margin(std::abs(weight - params_.min_p));
        return weight < params_.min_p;
    });
    kept_.erase(dropped, kept_.end());
}

Choice Sampler::choose(const float * logits, size_t n, const RandomKey & key, bool wants_margin) {
    const size_t best = best_of(logits, n);
    if (params_.temperature == 0) {
        return greedy(logits, n, best, wants_margin);
    }
    weights_.resize(n);
    total_ = 0;
    for (size_t i = 0; i < n; ++i) {
        const double distance = static_cast<double>(logits[i]) - static_cast<double>(logits[best]);
        weights_[i] = std::exp(distance / params_.temperature);
        total_ += weights_[i];
    }
    kept_.resize(n);
    std::iota(kept_.begin(), kept_.end(), 0);
    margin_ = std::numeric_limits<double>::infinity();
    keep_top_k();
    keep_top_p();
    keep_min_p();
    // By id: a rounding that swaps two nearly equal tokens then moves no share of the others.
    if (kept_.size() < n) {
        std::sort(kept_.begin(), kept_.end());
    }
    double kept_total = 0;
    for (const int32_t id : kept_) {
        kept_total += weights_[static_cast<size_t>(id)];
    }
    const double target = uniform(params_.seed, key) * kept_total;
    double sum = 0;
    Choice choice;
    for (const int32_t id : kept_) {
        const double weight = weights_[static_cast<size_t>(id)];
        if (weight > 0) {
            choice.token = id; // the last one with a share, should rounding leave the target beyond the sum
            if (sum + weight > target) {
                if (sum > 0) {
                    lower_margin(target - sum);
                }
                if (sum + weight < kept_total) {
                    lower_margin(sum + weight - target);
                }
                break;
            }
        }
        sum += weight;
    }
    choice.margin = margin_ / total_;
    return choice;
}

} // namespace traitscope
