// Tests of core/generate on a small model: sequences do not know of one another, memory is shared where it
// may be, and every way to end is taken.

#include "core/model.h"
#include "core/plan.h"
#include "test/check.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

using namespace traitscope;

namespace {

using Prompt = std::vector<int32_t>;

/// Some share a long beginning, one is the beginning of another, two are the same.
const std::vector<Prompt> prompts = {
    {1, 5, 9, 13, 17, 21, 25, 29, 33, 37, 41},
    {1, 5, 9, 13, 17, 21, 25, 29, 33, 37, 41, 45, 49},
    {1, 5, 9, 13, 17, 21, 25, 29, 33, 6, 10},
    {1, 5, 9, 13, 17, 21, 25, 29, 33, 6, 10},
    {1, 5, 9, 13, 17, 21, 25, 29, 33, 6, 10, 14, 18, 22, 26, 30, 34, 38, 42, 46, 50},
    {2},
    {2, 7, 3, 8},
    {1, 5, 9, 13, 17, 21, 25, 29, 33, 6, 10, 14, 18, 22, 26, 30, 34, 39, 43},
};

GenerateRequest request_of(const std::vector<Prompt> & of, int32_t max_new, int32_t n_slots) {
    GenerateRequest request;
    uint32_t draw = 0;
    for (const Prompt & tokens : of) {
        request.sequences.push_back({tokens, tokens.size(), max_new, 11, draw++, -1});
    }
    request.n_slots = n_slots;
    request.n_cells = 64;
    request.micro_batch = 64;
    request.ignore_eog = true;
    return request;
}

std::vector<Prompt> tokens_of(const GenerateResult & result) {
    std::vector<Prompt> tokens;
    for (const GenerateOutcome & outcome : result.outcomes) {
        tokens.push_back(outcome.tokens);
    }
    return tokens;
}

GenerateResult generate(Model & model, const GenerateRequest & request, const Job & job = {}) {
    return model.generate(request, job);
}

void test_slots(Model & model) {
    GenerateRequest one = request_of(prompts, 12, 1);
    for (size_t i = 0; i < one.sequences.size(); ++i) {
        one.sequences[i].max_new = 1 + static_cast<int32_t>(3 * i % 12); // they end at different steps
    }
    for (const double temperature : {0.0, 1.0}) {
        one.sampler.temperature = temperature;
        const auto alone = tokens_of(generate(model, one));
        for (size_t i = 0; i < alone.size(); ++i) {
            check(alone[i].size() == 1 + 3 * i % 12, "slots: should generate as many tokens as asked for");
        }
        for (int32_t n_slots = 2; n_slots <= 8; ++n_slots) {
            GenerateRequest several = one;
            several.n_slots = n_slots;
            several.micro_batch = n_slots + 3; // prompts take several decodes
            check(tokens_of(generate(model, several)) == alone,
                  "slots: " + std::to_string(n_slots) + " should give what one gives");
        }
    }
    GenerateRequest fresh = request_of({prompts[4]}, 8, 1);
    GenerateRequest all = request_of(prompts, 8, 8);
    const GenerateResult together = generate(model, all);
    check(tokens_of(generate(model, fresh))[0] == together.outcomes[4].tokens,
          "slots: a sequence should be what it is alone");
    size_t n_given = 0;
    for (const Prompt & prompt : prompts) {
        n_given += prompt.size();
    }
    check(together.copied_tokens > 30, "slots: should take over what prompts share");
    check(together.computed_tokens + together.copied_tokens == static_cast<int64_t>(n_given + 8 * 7),
          "slots: should compute the rest of the prompts and every token that is fed back");
    check(together.n_decodes < 7 + 16, "slots: should decode together");

    // Taken over from the first slot, and only where eight tokens or more are gained.
    for (const int32_t n_common : {7, 8}) {
        Prompt first(30, 6);
        Prompt second(30, 7);
        std::fill_n(first.begin(), n_common, 5);
        std::fill_n(second.begin(), n_common, 5);
        check(generate(model, request_of({first, second}, 1, 2)).copied_tokens == (n_common < 8 ? 0 : 8),
              "slots: should share " + std::to_string(n_common) + " tokens or not");
    }

    // Ends come one by one; new sequences then wait for one another.
    std::vector<Prompt> many;
    for (int32_t i = 0; i < 64; ++i) {
        many.push_back({1, 5, 9, 2 + i});
    }
    GenerateRequest staggered = request_of(many, 1, 16);
    for (size_t i = 0; i < many.size(); ++i) {
        staggered.sequences[i].max_new = 1 + static_cast<int32_t>(i * 7 % 23);
    }
    const GenerateResult refilled = generate(model, staggered);
    staggered.n_slots = 1;
    check(tokens_of(generate(model, staggered)) == tokens_of(refilled),
          "slots: refilling should change no sequence");
    size_t n_steps = 0;
    for (const GenerateOutcome & outcome : refilled.outcomes) {
        n_steps += outcome.tokens.size();
    }
    check(refilled.n_decodes < static_cast<int64_t>(n_steps / 16 + 64 / 2 + 40),
          "slots: new sequences should be computed together");
}

void test_scores(Model & model) {
    GenerateRequest asked = request_of(prompts, 0, 4);
    for (GenerateSequence & sequence : asked.sequences) {
        sequence.tokens.insert(sequence.tokens.end(), {4, 8, 15});
    }
    GenerateRequest alone = asked;
    alone.n_slots = 1;
    const GenerateResult several = generate(model, asked);
    const GenerateResult single = generate(model, alone);
    for (size_t i = 0; i < prompts.size(); ++i) {
        check(several.outcomes[i].scores.size() == 3 && several.outcomes[i].tokens.empty(),
              "scores: should score each token of the continuation, and generate none");
        for (size_t k = 0; k < 3; ++k) {
            check(std::abs(several.outcomes[i].scores[k] - single.outcomes[i].scores[k]) < 1e-4,
                  "scores: should not depend on the batch");
        }
    }
    GenerateRequest watched = asked;
    watched.n_slots = static_cast<int32_t>(prompts.size());
    size_t n_reports = 0;
    watched.on_step = [&](const GenerateStep &) { ++n_reports; };
    generate(model, watched);
    check(n_reports > 1, "scores: should report what is scored while the rest is computed");
    // Chosen tokens score as their choice said.
    GenerateRequest chosen = request_of(prompts, 5, 8);
    chosen.logprobs.positions = 5;
    chosen.logprobs.top = 2;
    chosen.logprobs.ids = {7, 3};
    const GenerateResult generated = generate(model, chosen);
    GenerateRequest forced = request_of(prompts, 1, 8); // scored, then generated behind it
    for (size_t i = 0; i < prompts.size(); ++i) {
        const Prompt & tokens = generated.outcomes[i].tokens;
        forced.sequences[i].tokens.insert(forced.sequences[i].tokens.end(), tokens.begin(), tokens.end() - 1);
    }
    const GenerateResult scored = generate(model, forced);
    for (size_t i = 0; i < prompts.size(); ++i) {
        const GenerateOutcome & outcome = generated.outcomes[i];
        check(outcome.top_ids.size() == 10 && outcome.id_logprobs.size() == 10 &&
                  outcome.top_ids[0] == outcome.tokens[0] && outcome.top_logprobs[0] == outcome.logprobs[0] &&
                  outcome.top_logprobs[0] > outcome.top_logprobs[1] && outcome.id_logprobs[0] < 0,
              "logprobs: should hold the chosen token, the best ones and those asked for");
        check(scored.outcomes[i].tokens == Prompt{outcome.tokens.back()},
              "scores: generation should go on behind a continuation");
        for (size_t k = 0; k < 4; ++k) {
            check(std::abs(scored.outcomes[i].scores[k] - outcome.logprobs[k]) < 1e-4,
                  "scores: should be what the choice had");
        }
    }
}

void test_ends(Model & model) {
    const GenerateResult plain = generate(model, request_of(prompts, 12, 8));
    const GenerateOutcome & first = plain.outcomes[0];
    check(first.finish == Finish::Length, "ends: should say that the length was reached");
    GenerateRequest stops = request_of(prompts, 12, 8);
    stops.stop_tokens = {first.tokens[3]};
    const GenerateResult stopped = generate(model, stops);
    const auto found = std::find(first.tokens.begin(), first.tokens.end(), first.tokens[3]);
    check(stopped.outcomes[0].finish == Finish::Stop &&
              stopped.outcomes[0].tokens == Prompt(first.tokens.begin(), found + 1),
          "ends: should end with the stop token, which it keeps");
    GenerateRequest texts = request_of(prompts, 12, 8);
    const std::string text = first.text.substr(4, 3);
    texts.stop_texts = {text};
    const GenerateOutcome cut = generate(model, texts).outcomes[0];
    check(cut.finish == Finish::Stop && cut.text == first.text.substr(0, first.text.find(text)) &&
              cut.tokens.size() < 12,
          "ends: should end where a stop text is complete, and cut it off");

    std::vector<size_t> reported(prompts.size(), 0);
    size_t n_finished = 0;
    Job job;
    GenerateRequest watched = request_of(prompts, 12, 3);
    watched.on_step = [&](GenerateStep step) {
        for (const auto & [sequence, token] : step.tokens) {
            check(token == plain.outcomes[sequence].tokens[reported[sequence]++],
                  "steps: should report every token in order");
        }
        for (const auto & [sequence, outcome] : step.finished) {
            ++n_finished;
            check(outcome.tokens == plain.outcomes[sequence].tokens, "steps: should report what has ended");
        }
    };
    generate(model, watched, job);
    check(n_finished == prompts.size(), "steps: should report every end");

    n_finished = 0;
    watched.on_step = [&](const GenerateStep & step) {
        n_finished += step.finished.size();
        if (n_finished >= 3) {
            job.cancel->store(true);
        }
    };
    const GenerateResult cancelled = generate(model, watched, job);
    size_t n_aborted = 0;
    for (size_t i = 0; i < prompts.size(); ++i) {
        const GenerateOutcome & outcome = cancelled.outcomes[i];
        n_aborted += outcome.finish == Finish::Aborted ? 1 : 0;
        check(outcome.finish == Finish::Aborted ? outcome.tokens.size() < 12
                                                : outcome.tokens == plain.outcomes[i].tokens,
              "cancel: should keep what has ended, and mark the rest");
    }
    check(n_aborted > 0 && n_aborted < prompts.size(), "cancel: should stop in the middle");
    check(tokens_of(generate(model, request_of(prompts, 12, 8))) == tokens_of(plain),
          "cancel: should leave the model usable");
}

/// Mean block outputs of `tokens` from `from` on, by the extractor.
std::vector<float> means(Model & model, const Prompt & tokens, size_t from,
                         const std::vector<int32_t> & layers) {
    PlanBatch batch;
    batch.seq_offsets.push_back(0);
    for (size_t i = 0; i < tokens.size(); ++i) {
        batch.tokens.push_back(tokens[i]);
        batch.positions.push_back(static_cast<int32_t>(i));
        batch.seq_ids.push_back(0);
        batch.seq_offsets.push_back(static_cast<int32_t>(i) + 1);
        if (i >= from) {
            batch.row_tokens.push_back(static_cast<int32_t>(i));
        }
    }
    batch.row_offsets = {0, static_cast<int32_t>(batch.row_tokens.size())};
    batch.output_rows = {0};
    ExtractRequest request;
    request.batches = {batch};
    request.layers = layers;
    request.n_rows = 1;
    std::vector<float> out(layers.size() * static_cast<size_t>(model.info().n_embd));
    model.extract(request, out.data(), {});
    return out;
}

void test_states(Model & model) {
    const std::vector<int32_t> layers = {0, model.info().n_layer - 1};
    GenerateRequest request = request_of(prompts, 6, 3);
    request.layers = layers;
    request.sequences[5].max_new = 1;
    const GenerateResult result = generate(model, request);
    for (size_t i = 0; i < prompts.size(); ++i) {
        const GenerateOutcome & outcome = result.outcomes[i];
        if (i == 5) {
            check(outcome.n_pooled == 0 && outcome.pooled.empty(),
                  "states: should be missing where no generated token is read");
            continue;
        }
        check(outcome.n_pooled == 5, "states: should leave out the last token, which the model never reads");
        Prompt fed = prompts[i];
        fed.insert(fed.end(), outcome.tokens.begin(), outcome.tokens.end() - 1);
        const auto wanted = means(model, fed, prompts[i].size(), layers);
        double difference = 0;
        double norm = 0;
        for (size_t k = 0; k < wanted.size(); ++k) {
            difference += std::pow(static_cast<double>(outcome.pooled[k] - wanted[k]), 2);
            norm += std::pow(static_cast<double>(wanted[k]), 2);
        }
        check(std::sqrt(difference / norm) < 1e-5, "states: should be the mean over generated tokens");
    }
}

void test_controls(Model & model) {
    const auto n_embd = static_cast<size_t>(model.info().n_embd);
    const int32_t last = model.info().n_layer - 1;
    std::vector<float> strong(n_embd);
    for (size_t i = 0; i < n_embd; ++i) {
        strong[i] = static_cast<float>(6 * std::sin(static_cast<double>(i)));
    }
    const std::vector<float> zero(n_embd, 0.0F);
    for (const int32_t layer : {0, last / 2, last}) {
        const std::vector<Control> controls = {{{layer}, strong}, {{layer}, zero}};
        const auto with = [&](int32_t control) {
            GenerateRequest request = request_of(prompts, 8, 4);
            request.micro_batch = 8; // prompts take decodes whose logits nobody reads
            request.controls = controls;
            for (GenerateSequence & sequence : request.sequences) {
                sequence.control = control;
            }
            return tokens_of(generate(model, request));
        };
        const auto none = with(-1);
        const auto steered = with(0);
        check(none == tokens_of(generate(model, request_of(prompts, 8, 4))),
              "control: should change nothing of sequences without one");
        check(with(1) == none, "control: zeros should change nothing");
        check(steered != none, "control: should change what is generated, layer " + std::to_string(layer));
        // One after the other, and side by side.
        GenerateRequest mixed = request_of(prompts, 8, 4);
        mixed.controls = controls;
        for (size_t i = 0; i < prompts.size(); ++i) {
            mixed.sequences[i].control = static_cast<int32_t>(i % 3) - 1;
        }
        const auto side_by_side = tokens_of(generate(model, mixed));
        for (size_t i = 0; i < prompts.size(); ++i) {
            check(side_by_side[i] == (i % 3 == 1 ? steered[i] : none[i]),
                  "control: should belong to its sequence alone");
        }
    }
}

void test_refusals(Model & model) {
    const auto refuses = [&](const char * title, const std::function<void(GenerateRequest &)> & spoil) {
        GenerateRequest request = request_of(prompts, 4, 2);
        spoil(request);
        check_throws(ErrorCode::Internal, std::string("generate: should refuse ") + title,
                     [&] { generate(model, request); });
    };
    refuses("no sequences", [](GenerateRequest & r) { r.sequences.clear(); });
    refuses("no slot", [](GenerateRequest & r) { r.n_slots = 0; });
    refuses("too many slots", [](GenerateRequest & r) { r.n_slots = r.micro_batch = 257; });
    refuses("decodes smaller than a step", [](GenerateRequest & r) { r.micro_batch = 1; });
    refuses("too little memory", [](GenerateRequest & r) { r.n_cells = 20; });
    refuses("an empty prompt", [](GenerateRequest & r) { r.sequences[0].n_prompt = 0; });
    refuses("nothing to do", [](GenerateRequest & r) { r.sequences[0].max_new = 0; });
    refuses("a token outside the vocabulary",
            [](GenerateRequest & r) { r.sequences[0].tokens[0] = 1 << 30; });
    refuses("a negative token", [](GenerateRequest & r) { r.sequences[0].tokens[0] = -1; });
    refuses("a control that is not there", [](GenerateRequest & r) { r.sequences[0].control = 0; });
    refuses("a control of another width", [](GenerateRequest & r) { r.controls = {{{0}, {1.0F}}}; });
    refuses("a layer that does not exist", [](GenerateRequest & r) { r.layers = {1 << 20}; });
    refuses("layers that do not ascend", [](GenerateRequest & r) { r.layers = {1, 0}; });
    refuses("log-probabilities of no token", [](GenerateRequest & r) { r.logprobs.ids = {-1}; });
    refuses("an adapter that is not attached", [](GenerateRequest & r) { r.adapters = {{99, 1.0F}}; });
}

} // namespace

void test_generate(Model & model) {
    test_slots(model);
    test_scores(model);
    test_ends(model);
    test_states(model);
    test_controls(model);
    test_refusals(model);
}
