// Tests of core/sampler: the random numbers' known answers, what is kept, shares, and what margins promise.

#include "core/sampler.h"
#include "test/check.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <vector>

using namespace traitscope;

namespace {

std::vector<float> logits_of(size_t n, double seed) {
    std::vector<float> logits(n);
    for (size_t i = 0; i < n; ++i) {
        logits[i] = static_cast<float>(4 * std::sin(seed * 91.7 + static_cast<double>(i) * 2.3));
    }
    return logits;
}

Choice choose(const SamplerParams & params, const std::vector<float> & logits, uint32_t step) {
    return Sampler(params).choose(logits.data(), logits.size(), {1, 0, step});
}

/// Ids that a thousand numbers choose.
std::set<int32_t> chosen(const SamplerParams & params, const std::vector<float> & logits) {
    std::set<int32_t> ids;
    for (uint32_t step = 0; step < 1000; ++step) {
        ids.insert(choose(params, logits, step).token);
    }
    return ids;
}

void test_numbers() {
    // Of the generator's authors, Random123's kat_vectors.
    const auto answers = [](std::array<uint32_t, 4> counter, uint32_t key0, uint32_t key1) {
        philox(counter.data(), key0, key1);
        return counter;
    };
    constexpr uint32_t ones = 0xffffffff;
    check(answers({0, 0, 0, 0}, 0, 0) ==
              std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
          "philox: should give the known answer for zeros");
    check(answers({ones, ones, ones, ones}, ones, ones) ==
              std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
          "philox: should give the known answer for ones");
    check(answers({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0) ==
              std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
          "philox: should give the known answer for digits of pi");
    double sum = 0;
    std::set<uint32_t> seen;
    RandomWords words(5, {77, 3, 0});
    for (uint32_t id = 0; id < 10000; ++id) {
        sum += words.at(id) * 0x1p-32;
        seen.insert(words.at(id));
    }
    check(std::abs(sum / 10000 - 0.5) < 0.015 && seen.size() > 9990, "words: should be spread evenly");
    const auto at = [](uint64_t seed, const RandomKey & key, uint32_t id) {
        return RandomWords(seed, key).at(id);
    };
    const uint32_t one = at(5, {77, 3, 0}, 9);
    constexpr uint64_t high = uint64_t{1} << 32;
    check(one == words.at(9) && one != at(6, {77, 3, 0}, 9) && one != at(5, {78, 3, 0}, 9) &&
              one != at(5, {77, 4, 0}, 9) && one != at(5, {77, 3, 1}, 9) &&
              one != at(5, {77 + high, 3, 0}, 9) && one != at(5 + high, {77, 3, 0}, 9) && one != words.at(10),
          "words: should depend on all of seed, sequence, draw, step and token, and on nothing else");
    // By another implementation of the same definition: texts of today are those of tomorrow.
    RandomWords stated(5, {77, 3, 2});
    check(stated.at(0) == 0x6d774710 && stated.at(9) == 0x268cda69 && stated.at(1000001) == 0x225de67d,
          "words: should be those of every version");
}

void test_kept() {
    std::vector<float> logits(50, -30.0F);
    const std::vector<double> shares = {0.4, 0.3, 0.2, 0.06, 0.04};
    const std::vector<size_t> ids = {40, 3, 17, 8, 22};
    for (size_t i = 0; i < ids.size(); ++i) {
        logits[ids[i]] = static_cast<float>(std::log(shares[i]));
    }
    SamplerParams params;
    check(choose(params, logits, 0).token == 40, "greedy: should take the most probable token");
    check(std::abs(choose(params, logits, 0).margin - std::log(0.4 / 0.3)) < 1e-6,
          "greedy: should give its lead as margin");
    logits[12] = logits[40];
    check(choose(params, logits, 0).token == 12, "greedy: should take the lowest id of equal ones");
    logits[12] = -30.0F;

    params.temperature = 1;
    check(chosen(params, logits) == std::set<int32_t>{3, 8, 17, 22, 40},
          "sampling: should reach every share");
    SamplerParams top_k = params;
    top_k.top_k = 2;
    check(chosen(top_k, logits) == std::set<int32_t>{3, 40}, "top-k: should keep the k most probable");
    SamplerParams top_p = params;
    top_p.top_p = 0.75; // .4 + .3 falls short, the third one reaches it
    check(chosen(top_p, logits) == std::set<int32_t>{3, 17, 40},
          "top-p: should keep the fewest that reach it");
    top_p.top_p = 1e-9;
    check(chosen(top_p, logits) == std::set<int32_t>{40}, "top-p: should always keep one");
    SamplerParams both = top_p;
    both.top_k = 2;
    both.top_p = 0.55; // of the two kept: .571 and .429
    check(chosen(both, logits) == std::set<int32_t>{40}, "top-p: should count what top-k keeps as all");
    SamplerParams min_p = params;
    min_p.min_p = 0.45;
    check(chosen(min_p, logits) == std::set<int32_t>{3, 17, 40},
          "min-p: should keep those near the most probable one");
    SamplerParams cold = params;
    cold.temperature = 0.01;
    check(chosen(cold, logits) == std::set<int32_t>{40}, "temperature: should sharpen");

    std::array<int, 50> counts{};
    for (uint32_t step = 0; step < 20000; ++step) {
        ++counts[static_cast<size_t>(choose(params, logits, step).token)];
    }
    for (size_t i = 0; i < ids.size(); ++i) {
        check(std::abs(counts[ids[i]] / 20000.0 - shares[i]) < 0.012, "sampling: should keep to the shares");
    }

    const auto wide = logits_of(5000, 3);
    SamplerParams deep = params;
    deep.top_p = 0.99; // more tokens than are sorted at first
    const auto kept = chosen(deep, wide);
    std::vector<double> weights;
    for (const float logit : wide) {
        weights.push_back(std::exp(static_cast<double>(logit)));
    }
    std::vector<double> sorted = weights;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    double total = 0;
    for (const double weight : sorted) {
        total += weight;
    }
    double sum = 0;
    size_t n = 0;
    while (sum < 0.99 * total) {
        sum += sorted[n++];
    }
    bool within = true;
    for (const int32_t id : kept) {
        within = within && weights[static_cast<size_t>(id)] >= sorted[n - 1];
    }
    check(within && kept.size() > 300, "top-p: should keep the same set of a wide row as a full sort");
}

/// What a margin promises: logits that move by less than half of it leave the choice alone.
void test_margins() {
    int n_near = 0;
    for (uint32_t trial = 0; trial < 4000; ++trial) {
        SamplerParams params;
        params.temperature = trial % 4 == 0 ? 0 : 0.7;
        params.top_k = trial % 3 == 0 ? 20 : 0;
        params.top_p = trial % 5 == 0 ? 0.9 : 1;
        params.min_p = trial % 7 == 0 ? 0.05 : 0;
        auto logits = logits_of(60, trial);
        const Choice choice = choose(params, logits, trial);
        const double d = std::min(0.499 * choice.margin, 2.0);
        for (size_t i = 0; i < logits.size(); ++i) {
            logits[i] += static_cast<float>(d * std::sin(static_cast<double>(i * 7 + trial)));
        }
        check(choose(params, logits, trial).token == choice.token,
              "margin: should hold under smaller changes");
        n_near += choice.margin < 0.02 ? 1 : 0;
    }
    check(n_near > 50, "margin: should have been tried where choices are near");
}

void test_numbers_that_are_none() {
    std::vector<float> logits = logits_of(20, 1);
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        logits[7] = bad;
        for (const double temperature : {0.0, 1.0}) {
            SamplerParams params;
            params.temperature = temperature;
            check_throws(ErrorCode::Compute, "sampling: should refuse logits that are not finite",
                         [&] { choose(params, logits, 0); });
        }
    }
    logits[7] = -std::numeric_limits<float>::infinity();
    SamplerParams params;
    params.temperature = 1;
    check(chosen(params, logits).count(7) == 0, "sampling: should never choose what is masked");
    check(std::abs(log_sum_exp(logits.data(), 7) - std::log([&] {
                       double sum = 0;
                       for (size_t i = 0; i < 7; ++i) {
                           sum += std::exp(static_cast<double>(logits[i]));
                       }
                       return sum;
                   }())) < 1e-12,
          "log_sum_exp: should be the logarithm of the sum");
}

void test_numbers_that_tell_nothing() {
    const std::vector<float> alike(20, 0.0F);
    check_throws(ErrorCode::Compute, "sampling: should refuse logits that are all alike",
                 [&] { refuse_alike(alike.data(), alike.size()); });
    std::vector<float> told = alike;
    told.back() = 1e-6F;
    refuse_alike(told.data(), told.size());
    refuse_alike(alike.data(), 1);
}

} // namespace

void test_sampler() {
    test_numbers();
    test_kept();
    test_margins();
    test_numbers_that_are_none();
    test_numbers_that_tell_nothing();
}
