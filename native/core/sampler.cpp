#include "core/sampler.h"

#include "core/error.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
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

RandomWords::RandomWords(uint64_t seed, const RandomKey & key)
    : names_{key.step, key.draw, static_cast<uint32_t>(key.sequence),
             static_cast<uint32_t>(key.sequence >> 32)} {
    philox(names_, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
}

uint32_t RandomWords::at(uint32_t id) {
    if (id / 4 != block_) {
        block_ = id / 4;
        words_[0] = static_cast<uint32_t>(block_);
        words_[1] = names_[2];
        words_[2] = names_[3];
        words_[3] = 0;
        philox(words_, names_[0], names_[1]);
    }
    return words_[id % 4];
}

void fail_not_finite() {
    throw Error(ErrorCode::Compute,
                "the logits are not finite: the model, an adapter or a control vector holds NaN "
                "or infinite values, or its values overflow");
}

void refuse_alike(const float * logits, size_t n) {
    const float * end = logits + n;
    if (n > 1 && std::adjacent_find(logits, end, std::not_equal_to<>()) == end) {
        throw Error(ErrorCode::Compute,
                    "the logits are all alike: the values of the model, an adapter or a control "
                    "vector overflow");
    }
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

/// Who is ahead, and by how much: the first of equal ones.
struct Race {
    int32_t winner = 0;
    double first = -std::numeric_limits<double>::infinity();
    double second = -std::numeric_limits<double>::infinity();

    void enter(int32_t id, double score) {
        if (score > first) {
            second = first;
            first = score;
            winner = id;
        } else if (score > second) {
            second = score;
        }
    }
};

Race race_of(const float * logits, size_t n) {
    Race race;
    bool is_number = true;
    for (size_t i = 0; i < n; ++i) {
        is_number = is_number && !std::isnan(logits[i]);
        race.enter(static_cast<int32_t>(i), static_cast<double>(logits[i]));
    }
    if (!is_number || !std::isfinite(race.first)) {
        fail_not_finite();
    }
    return race;
}

/// More probable first, equal ones by id.
struct More {
    const float * logits;

    bool operator()(int32_t a, int32_t b) const {
        return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
    }
};

/// 1 - u of a random word, u being uniform in (0, 1).
double complement(uint32_t word) {
    return (4294967295.5 - static_cast<double>(word)) * 0x1p-32;
}

double gumbel(uint32_t word) {
    return -std::log(-std::log1p(-complement(word)));
}

/// Whether `gumbel(word)` may be more than `bound`: false for nearly all tokens, without a logarithm. It is
/// not where 1 - u >= exp(-bound), because -log(u) >= 1 - u.
bool may_exceed(uint32_t word, double bound) {
    constexpr int n_steps = 24; // no Gumbel number of 32 bits reaches it
    static const auto powers = [] {
        std::array<double, n_steps> table{};
        for (int i = 0; i < n_steps; ++i) {
            table[static_cast<size_t>(i)] = std::exp(-static_cast<double>(i));
        }
        return table;
    }();
    if (bound < 0) {
        return true;
    }
    return bound < n_steps && complement(word) < powers[static_cast<size_t>(bound)];
}

} // namespace

void Sampler::lower_margin(double logits) {
    margin_ = std::min(margin_, logits);
}

/// Relative to the most probable token.
double Sampler::weight(const float * logits, int32_t id) const {
    return std::exp((static_cast<double>(logits[id]) - best_) / params_.temperature);
}

void Sampler::keep_top_k(const float * logits) {
    const auto k = static_cast<size_t>(params_.top_k);
    if (k == 0 || k >= kept_.size()) {
        return;
    }
    const auto end = kept_.begin() + static_cast<std::ptrdiff_t>(k);
    std::nth_element(kept_.begin(), end, kept_.end(), More{logits});
    const int32_t last = *std::max_element(kept_.begin(), end, More{logits});
    lower_margin(static_cast<double>(logits[last]) - static_cast<double>(logits[*end]));
    kept_.erase(end, kept_.end());
}

void Sampler::keep_top_p(const float * logits) {
    if (params_.top_p >= 1) {
        return;
    }
    double total = 0;
    for (const int32_t id : kept_) {
        total += weight(logits, id);
    }
    // Few tokens reach it as a rule: sort no more than needed.
    double share = 0;
    size_t n = 0;
    for (size_t sorted = 0; share < params_.top_p && n < kept_.size();) {
        const size_t until = std::min(kept_.size(), std::max<size_t>(64, 8 * sorted));
        std::partial_sort(kept_.begin() + static_cast<std::ptrdiff_t>(sorted),
                          kept_.begin() + static_cast<std::ptrdiff_t>(until), kept_.end(), More{logits});
        for (sorted = until; share < params_.top_p && n < sorted; ++n) {
            // Logits that all move by d move a share by d / (2 T) at most.
            lower_margin(4 * params_.temperature * (params_.top_p - share));
            share += weight(logits, kept_[n]) / total;
        }
    }
    lower_margin(4 * params_.temperature * std::abs(share - params_.top_p));
    if (n < kept_.size()) {
        const auto end = kept_.begin() + static_cast<std::ptrdiff_t>(n);
        const int32_t next = *std::min_element(end, kept_.end(), More{logits});
        lower_margin(static_cast<double>(logits[kept_[n - 1]]) - static_cast<double>(logits[next]));
        kept_.erase(end, kept_.end());
    }
}

void Sampler::keep_min_p(const float * logits) {
    if (params_.min_p <= 0) {
        return;
    }
    const double bound = best_ + params_.temperature * std::log(params_.min_p);
    const auto dropped = std::remove_if(kept_.begin(), kept_.end(), [&](int32_t id) {
        const auto logit = static_cast<double>(logits[id]);
        lower_margin(std::abs(logit - bound));
        return logit < bound;
    });
    kept_.erase(dropped, kept_.end());
}

Choice Sampler::choose(const float * logits, size_t n, const RandomKey & key) {
    const Race plain = race_of(logits, n);
    if (params_.temperature == 0) {
        return {plain.winner, plain.first - plain.second};
    }
    best_ = plain.first;
    margin_ = std::numeric_limits<double>::infinity();
    kept_.resize(n);
    std::iota(kept_.begin(), kept_.end(), 0);
    keep_top_k(logits);
    keep_top_p(logits);
    keep_min_p(logits);
    if (kept_.size() < n) {
        std::sort(kept_.begin(), kept_.end()); // neighbours share random blocks
    }
    Race race;
    RandomWords words(params_.seed, key);
    const auto enter = [&](int32_t id, bool surely) {
        const uint32_t word = words.at(static_cast<uint32_t>(id));
        const double score = static_cast<double>(logits[id]) / params_.temperature;
        if (surely || may_exceed(word, race.second - score)) {
            race.enter(id, score + gumbel(word));
        }
    };
    enter(plain.winner, true); // then few others can still matter
    for (const int32_t id : kept_) {
        if (id != plain.winner) {
            enter(id, false);
        }
    }
    lower_margin(params_.temperature * (race.first - race.second));
    return {race.winner, margin_};
}

} // namespace traitscope
