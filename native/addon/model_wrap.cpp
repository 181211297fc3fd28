#include "addon/model_wrap.h"

#include "addon/convert.h"
#include "addon/generate_wrap.h"
#include "addon/job_worker.h"

#include <utility>
#include <vector>

namespace traitscope::addon {

namespace {

// Each Work below is what one call needs on its own thread and what it returns; see job_worker.h.

struct LoadWork {
    ModelParams params;
    ModelWrap * wrap; // kept alive by the worker's owner reference
    std::shared_ptr<Model> model;

    void run(Job & job) { model = Model::open(params, job); }
    Napi::Value result(Napi::Env env) {
        wrap->adopt(model);
        return from_info(env, model->info());
    }
};

struct TokenizeWork {
    std::shared_ptr<Model> model;
    std::vector<std::string> texts;
    bool add_special;
    bool parse_special;
    Tokens tokens;

    void run(Job &) { tokens = model->tokenize(texts, add_special, parse_special); }
    Napi::Value result(Napi::Env env) const {
        auto out = Napi::Object::New(env);
        out.Set("ids", from_int32s(env, tokens.ids));
        out.Set("offsets", from_int32s(env, tokens.offsets));
        return out;
    }
};

struct DetokenizeWork {
    std::shared_ptr<Model> model;
    std::vector<std::vector<int32_t>> lists;
    std::vector<std::string> texts;

    void run(Job &) { texts = model->detokenize(lists); }
    Napi::Value result(Napi::Env env) const {
        auto out = Napi::Array::New(env, texts.size());
        for (size_t i = 0; i < texts.size(); ++i) {
            out.Set(static_cast<uint32_t>(i), texts[i]);
        }
        return out;
    }
};

struct AttachWork {
    std::shared_ptr<Model> model;
    std::vector<uint8_t> gguf;
    int32_t id = 0;

    void run(Job &) { id = model->attach(gguf.data(), gguf.size()); }
    Napi::Value result(Napi::Env env) const { return Napi::Number::New(env, id); }
};

struct DetachWork {
    std::shared_ptr<Model> model;
    int32_t id;

    void run(Job &) { model->detach(id); }
    Napi::Value result(Napi::Env env) const { return env.Undefined(); }
};

struct ExtractWork {
    std::shared_ptr<Model> model;
    ExtractRequest request;
    Napi::Reference<Napi::Float32Array> data; // touched on the JS thread only; `out` points into it
    float * out;
    ExtractStats stats;

    void run(Job & job) { stats = model->extract(request, out, job); }
    Napi::Value result(Napi::Env env) {
        auto value = Napi::Object::New(env);
        value.Set("data", data.Value());
        value.Set("computedTokens", static_cast<double>(stats.computed_tokens));
        value.Set("contextTokens", static_cast<double>(stats.context_tokens));
        value.Set("decodeSeconds", stats.decode_seconds);
        value.Set("contextSeconds", stats.context_seconds);
        value.Set("nodesAfterStop", static_cast<double>(stats.nodes_after_stop));
        return value;
    }
};

struct MemoryWork {
    std::shared_ptr<Model> model;
    std::vector<DeviceMemory> devices;

    void run(Job &) { devices = model->memory(); }
    Napi::Value result(Napi::Env env) const { return from_memory(env, devices); }
};

struct CloseWork {
    std::shared_ptr<Model> model;

    void run(Job &) { model.reset(); } // unmapping gigabytes takes time
    Napi::Value result(Napi::Env env) const { return env.Undefined(); }
};

template <typename Work>
Napi::Value start(const Napi::CallbackInfo & info, Work work, const Napi::Value & cancel = {},
                  const Napi::Value & progress = {}) {
    CancelFlag flag = cancel.IsEmpty() ? std::make_shared<std::atomic<bool>>(false) : to_cancel(cancel);
    return JobWorker<Work>::start(info.Env(), std::move(work), std::move(flag), progress,
                                  info.This().template As<Napi::Object>());
}

} // namespace

CancelFlag to_cancel(const Napi::Value & value) {
    return value.IsUndefined() ? std::make_shared<std::atomic<bool>>(false)
                               : CancelToken::Unwrap(value.As<Napi::Object>())->flag();
}

Napi::Function CancelToken::define(Napi::Env env) {
    return DefineClass(env, "CancelToken", {InstanceMethod<&CancelToken::cancel>("cancel")});
}

Napi::Function ModelWrap::define(Napi::Env env) {
    return DefineClass(env, "Model",
                       {
                           InstanceMethod<&ModelWrap::load>("load"),
                           InstanceMethod<&ModelWrap::tokenize>("tokenize"),
                           InstanceMethod<&ModelWrap::detokenize>("detokenize"),
                           InstanceMethod<&ModelWrap::attach>("attach"),
                           InstanceMethod<&ModelWrap::detach>("detach"),
                           InstanceMethod<&ModelWrap::extract>("extract"),
                           InstanceMethod<&ModelWrap::generate>("generate"),
                           InstanceMethod<&ModelWrap::memory>("memory"),
                           InstanceMethod<&ModelWrap::close>("close"),
                       });
}

std::shared_ptr<Model> ModelWrap::model(Napi::Env env) const {
    if (!model_) {
        throw coded_error(env, "MODEL_CLOSED", "the model is not open");
    }
    return model_;
}

Napi::Value ModelWrap::load(const Napi::CallbackInfo & info) {
    const auto in = info[0].As<Napi::Object>();
    ModelParams params;
    params.source = to_source(in);
    params.placement = to_placement(in);
    params.n_threads = in.Get("threads").As<Napi::Number>().Int32Value();
    params.max_tokens = in.Get("batchTokens").As<Napi::Number>().Int32Value();
    params.use_mmap = in.Get("mmap").As<Napi::Boolean>().Value();
    params.f16_sums = in.Get("f16Sums").As<Napi::Boolean>().Value();
    params.vocab_only = in.Get("vocabOnly").As<Napi::Boolean>().Value();
    return start(info, LoadWork{std::move(params), this, nullptr}, info[1], info[2]);
}

Napi::Value ModelWrap::tokenize(const Napi::CallbackInfo & info) {
    return start(
        info,
        TokenizeWork{
            model(info.Env()), to_strings(info[0], "texts"), info[1].ToBoolean(), info[2].ToBoolean(), {}});
}

Napi::Value ModelWrap::detokenize(const Napi::CallbackInfo & info) {
    DetokenizeWork work{model(info.Env()), {}, {}};
    const auto lists = info[0].As<Napi::Array>();
    for (uint32_t i = 0; i < lists.Length(); ++i) {
        work.lists.push_back(to_int32s(lists.Get(i), "tokens"));
    }
    return start(info, std::move(work));
}

Napi::Value ModelWrap::attach(const Napi::CallbackInfo & info) {
    const auto bytes = info[0].As<Napi::Uint8Array>();
    return start(info, AttachWork{model(info.Env()),
                                  std::vector<uint8_t>(bytes.Data(), bytes.Data() + bytes.ByteLength())});
}

Napi::Value ModelWrap::detach(const Napi::CallbackInfo & info) {
    return start(info, DetachWork{model(info.Env()), info[0].As<Napi::Number>().Int32Value()});
}

Napi::Value ModelWrap::extract(const Napi::CallbackInfo & info) {
    auto open = model(info.Env());
    const auto object = info[0].As<Napi::Object>();
    ExtractRequest request = to_request(object);
    // Allocated by the caller and filled by the worker: the result crosses without a copy. Allocating it here
    // would end the process where there is no memory for it.
    const auto given = object.Get("data");
    if (!given.IsTypedArray() || given.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array) {
        throw Napi::TypeError::New(info.Env(), "data must be a Float32Array");
    }
    auto data = given.As<Napi::Float32Array>();
    const size_t row = request.layers.size() * static_cast<size_t>(open->info().n_embd);
    const bool fits = request.n_rows >= 0 && row > 0 && data.ElementLength() % row == 0 &&
                      data.ElementLength() / row == static_cast<size_t>(request.n_rows);
    if (!fits) {
        throw coded_error(info.Env(), "INTERNAL", "extract: data is not nRows x layers x nEmbd long");
    }
    float * out = data.Data();
    return start(info, ExtractWork{std::move(open), std::move(request), Napi::Persistent(data), out, {}},
                 info[1], info[2]);
}

Napi::Value ModelWrap::generate(const Napi::CallbackInfo & info) {
    auto open = model(info.Env());
    return start(info, GenerateWork{std::move(open), to_generate_request(info[0].As<Napi::Object>()), {}, {}},
                 info[1], info[2]);
}

Napi::Value ModelWrap::memory(const Napi::CallbackInfo & info) {
    return start(info, MemoryWork{model(info.Env()), {}});
}

Napi::Value ModelWrap::close(const Napi::CallbackInfo & info) {
    return start(info, CloseWork{std::exchange(model_, nullptr)});
}

} // namespace traitscope::addon
