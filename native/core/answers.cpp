#include "core/answers.h"

#include "core/error.h"
#include "core/tokenize.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

namespace traitscope {

Answers::Answers(const GenerateRequest & request, const llama_vocab * vocab)
    : request_(request), vocab_(vocab), n_vocab_(static_cast<size_t>(llama_vocab_n_tokens(vocab))),
      sampler_(request.sampler), outcomes_(request.sequences.size()),
      texts_(request.stop_texts.empty() ? 0 : request.sequences.size()) {
    const auto & wanted = request.logprobs;
    const bool in_vocabulary = std::all_of(wanted.ids.begin(), wanted.ids.end(), [this](int32_t id) {
        return id >= 0 && static_cast<size_t>(id) < n_vocab_;
    });
    if (!in_vocabulary || wanted.top < 0 || static_cast<size_t>(wanted.top) > n_vocab_) {
        fail_internal("generate: log-probabilities are asked for outside the vocabulary");
    }
}

bool Answers::reads(size_t sequence, size_t position) const {
    const GenerateSequence & asked = request_.sequences[sequence];
    return position + 1 >= asked.n_prompt && (position + 1 < asked.tokens.size() || asked.max_new > 0);
}

std::optional<Finish> Answers::read(size_t sequence, size_t position, const float * logits) {
    refuse_alike(logits, n_vocab_);
    const GenerateSequence & asked = request_.sequences[sequence];
    if (position + 1 >= asked.tokens.size()) {
        return choose(sequence, logits);
    }
    const auto next = static_cast<size_t>(asked.tokens[position + 1]);
    const double score = static_cast<double>(logits[next]) - log_sum_exp(logits, n_vocab_);
    if (!(score <= 0)) {
        fail_not_finite();
    }
    outcomes_[sequence].scores.push_back(score);
    const bool is_last = position + 2 == asked.tokens.size() && asked.max_new == 0;
    return is_last ? std::optional(Finish::Length) : std::nullopt;
}

std::optional<Finish> Answers::choose(size_t sequence, const float * logits) {
    const GenerateSequence & asked = request_.sequences[sequence];
    GenerateOutcome & outcome = outcomes_[sequence];
    const RandomKey key{asked.key, asked.draw, static_cast<uint32_t>(outcome.tokens.size())};
    const Choice choice = sampler_.choose(logits, n_vocab_, key);
    if (outcome.tokens.size() < static_cast<size_t>(request_.logprobs.positions)) {
        keep_logprobs(outcome, choice.token, logits);
    }
    if (request_.wants_margins) {
        outcome.margins.push_back(choice.margin);
    }
    outcome.tokens.push_back(choice.token);
    if (request_.on_step) {
        step_.tokens.emplace_back(sequence, choice.token);
    }
    if (!texts_.empty()) {
        texts_[sequence] += token_text(vocab_, choice.token, false);
    }
    if (ends(sequence)) {
        return Finish::Stop;
    }
    const bool is_last = outcome.tokens.size() == static_cast<size_t>(asked.max_new);
    return is_last ? std::optional(Finish::Length) : std::nullopt;
}

void Answers::keep_logprobs(GenerateOutcome & outcome, int32_t chosen, const float * logits) {
    const LogprobRequest & wanted = request_.logprobs;
    const double all = log_sum_exp(logits, n_vocab_);
    const auto logprob = [&](int32_t id) { return static_cast<double>(logits[id]) - all; };
    outcome.logprobs.push_back(logprob(chosen));
    std::transform(wanted.ids.begin(), wanted.ids.end(), std::back_inserter(outcome.id_logprobs), logprob);
    ids_.resize(n_vocab_);
    std::iota(ids_.begin(), ids_.end(), 0);
    const auto top = ids_.begin() + wanted.top;
    std::partial_sort(ids_.begin(), top, ids_.end(), [logits](int32_t a, int32_t b) {
        return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
    });
    outcome.top_ids.insert(outcome.top_ids.end(), ids_.begin(), top);
    std::transform(ids_.begin(), top, std::back_inserter(outcome.top_logprobs), logprob);
}

/// Whether the last token ends the sequence.
bool Answers::ends(size_t sequence) const {
    const int32_t token = last(sequence);
    const auto & stops = request_.stop_tokens;
    if ((!request_.ignore_eog && llama_vocab_is_eog(vocab_, token)) ||
        std::find(stops.begin(), stops.end(), token) != stops.end()) {
        return true;
    }
    return std::any_of(request_.stop_texts.begin(), request_.stop_texts.end(), [&](const std::string & stop) {
        return texts_[sequence].find(stop) != std::string::npos;
    });
}

void Answers::finish(size_t sequence, Finish reason, const std::vector<double> & sum, int64_t n_pooled) {
    GenerateOutcome & outcome = outcomes_[sequence];
    outcome.finish = reason;
    outcome.text = detokenize(vocab_, outcome.tokens);
    for (const std::string & stop : request_.stop_texts) {
        outcome.text = outcome.text.substr(0, outcome.text.find(stop));
    }
    // A decode that was aborted may have added a part of its states.
    outcome.n_pooled = reason == Finish::Aborted ? 0 : n_pooled;
    if (outcome.n_pooled > 0) {
        outcome.pooled.reserve(sum.size());
        for (const double value : sum) {
            outcome.pooled.push_back(static_cast<float>(value / static_cast<double>(n_pooled)));
        }
    }
    if (request_.on_step) {
        step_.finished.emplace_back(sequence, outcome);
    }
}

void Answers::report() {
    if (request_.on_step && !(step_.tokens.empty() && step_.finished.empty())) {
        request_.on_step(std::exchange(step_, {}));
    }
}

} // namespace traitscope
