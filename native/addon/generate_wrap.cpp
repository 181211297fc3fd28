#include "addon/generate_wrap.h"

#include "addon/convert.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace traitscope::addon {

namespace {

GenerateSequence to_sequence(const Napi::Object & in) {
    GenerateSequence sequence;
    sequence.tokens = to_int32s(in.Get("tokens"), "tokens");
    sequence.n_prompt = static_cast<size_t>(in.Get("nPrompt").As<Napi::Number>().Int64Value());
    sequence.max_new = in.Get("maxNew").As<Napi::Number>().Int32Value();
    bool lossless = true;
    sequence.key = in.Get("key").As<Napi::BigInt>().Uint64Value(&lossless);
    sequence.draw = in.Get("draw").As<Napi::Number>().Uint32Value();
    sequence.control = in.Get("control").As<Napi::Number>().Int32Value();
    return sequence;
}

Control to_control(const Napi::Object & in) {
    const auto vectors = in.Get("vectors").As<Napi::Float32Array>();
    return {to_int32s(in.Get("layers"), "layers"),
            std::vector<float>(vectors.Data(), vectors.Data() + vectors.ElementLength())};
}

Napi::Float64Array from_doubles(Napi::Env env, const std::vector<double> & values) {
    auto array = Napi::Float64Array::New(env, values.size());
    std::copy(values.begin(), values.end(), array.Data());
    return array;
}

const char * finish_name(Finish finish) {
    switch (finish) {
    case Finish::Stop:
        return "stop";
    case Finish::Length:
        return "length";
    case Finish::Aborted:
        return "aborted";
    }
    return "aborted";
}

Napi::Object from_outcome(Napi::Env env, const GenerateOutcome & outcome) {
    auto out = Napi::Object::New(env);
    out.Set("tokens", from_int32s(env, outcome.tokens));
    out.Set("text", outcome.text);
    out.Set("finish", finish_name(outcome.finish));
    out.Set("scores", from_doubles(env, outcome.scores));
    out.Set("logprobs", from_doubles(env, outcome.logprobs));
    out.Set("margins", from_doubles(env, outcome.margins));
    out.Set("topIds", from_int32s(env, outcome.top_ids));
    out.Set("topLogprobs", from_doubles(env, outcome.top_logprobs));
    out.Set("idLogprobs", from_doubles(env, outcome.id_logprobs));
    auto pooled = Napi::Float32Array::New(env, outcome.pooled.size());
    std::copy(outcome.pooled.begin(), outcome.pooled.end(), pooled.Data());
    out.Set("pooled", pooled);
    out.Set("nPooled", static_cast<double>(outcome.n_pooled));
    return out;
}

} // namespace

GenerateRequest to_generate_request(const Napi::Object & value) {
    const auto number = [&](const char * name) { return value.Get(name).As<Napi::Number>(); };
    GenerateRequest request;
    const auto sequences = value.Get("sequences").As<Napi::Array>();
    for (uint32_t i = 0; i < sequences.Length(); ++i) {
        request.sequences.push_back(to_sequence(sequences.Get(i).As<Napi::Object>()));
    }
    request.n_slots = number("slots").Int32Value();
    request.n_cells = number("cells").Int32Value();
    request.micro_batch = number("microBatch").Int32Value();
    request.n_threads = number("threads").Int32Value();
    request.sampler.temperature = number("temperature").DoubleValue();
    request.sampler.top_k = number("topK").Int32Value();
    request.sampler.top_p = number("topP").DoubleValue();
    request.sampler.min_p = number("minP").DoubleValue();
    bool lossless = true;
    request.sampler.seed = value.Get("seed").As<Napi::BigInt>().Uint64Value(&lossless);
    request.ignore_eog = value.Get("ignoreEos").ToBoolean();
    request.stop_tokens = to_int32s(value.Get("stopTokens"), "stopTokens");
    request.stop_texts = to_strings(value.Get("stopTexts"), "stopTexts");
    request.adapters = to_adapters(value);
    const auto controls = value.Get("controls").As<Napi::Array>();
    for (uint32_t i = 0; i < controls.Length(); ++i) {
        request.controls.push_back(to_control(controls.Get(i).As<Napi::Object>()));
    }
    request.layers = to_int32s(value.Get("layers"), "layers");
    request.logprobs.positions = number("logprobPositions").Int32Value();
    request.logprobs.top = number("logprobTop").Int32Value();
    request.logprobs.ids = to_int32s(value.Get("logprobIds"), "logprobIds");
    request.wants_margins = value.Get("margins").ToBoolean();
    return request;
}

void GenerateWork::run(Job & job) {
    // A tiny model takes thousands of steps a second: gather them, no listener needs more than twenty
    // reports.
    GenerateStep gathered;
    auto last = std::chrono::steady_clock::now();
    const auto pass_on = [&] {
        last = std::chrono::steady_clock::now();
        emit(std::exchange(gathered, {}));
    };
    if (emit) {
        request.on_step = [&](GenerateStep step) {
            std::move(step.tokens.begin(), step.tokens.end(), std::back_inserter(gathered.tokens));
            std::move(step.finished.begin(), step.finished.end(), std::back_inserter(gathered.finished));
            if (std::chrono::steady_clock::now() - last >= std::chrono::milliseconds(50)) {
                pass_on();
            }
        };
    }
    result_ = model->generate(request, job);
    if (emit && !(gathered.tokens.empty() && gathered.finished.empty())) {
        pass_on();
    }
}

Napi::Value GenerateWork::to_js(Napi::Env env, const Event & step) {
    auto out = Napi::Object::New(env);
    auto sequences = Napi::Int32Array::New(env, step.tokens.size());
    auto tokens = Napi::Int32Array::New(env, step.tokens.size());
    for (size_t i = 0; i < step.tokens.size(); ++i) {
        sequences[i] = static_cast<int32_t>(step.tokens[i].first);
        tokens[i] = step.tokens[i].second;
    }
    auto finished = Napi::Array::New(env, step.finished.size());
    for (size_t i = 0; i < step.finished.size(); ++i) {
        auto outcome = from_outcome(env, step.finished[i].second);
        outcome.Set("sequence", static_cast<double>(step.finished[i].first));
        finished.Set(static_cast<uint32_t>(i), outcome);
    }
    out.Set("sequences", sequences);
    out.Set("tokens", tokens);
    out.Set("finished", finished);
    return out;
}

Napi::Value GenerateWork::result(Napi::Env env) const {
    auto out = Napi::Object::New(env);
    auto outcomes = Napi::Array::New(env, result_.outcomes.size());
    for (size_t i = 0; i < result_.outcomes.size(); ++i) {
        outcomes.Set(static_cast<uint32_t>(i), from_outcome(env, result_.outcomes[i]));
    }
    out.Set("outcomes", outcomes);
    out.Set("computedTokens", static_cast<double>(result_.computed_tokens));
    out.Set("copiedTokens", static_cast<double>(result_.copied_tokens));
    out.Set("decodes", static_cast<double>(result_.n_decodes));
    out.Set("decodeSeconds", result_.decode_seconds);
    return out;
}

} // namespace traitscope::addon
