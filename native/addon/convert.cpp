#include "addon/convert.h"

namespace traitscope::addon {

std::vector<int32_t> to_int32s(const Napi::Value & value, const char * name) {
    if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array) {
        throw Napi::TypeError::New(value.Env(), std::string(name) + " must be an Int32Array");
    }
    const auto array = value.As<Napi::Int32Array>();
    return std::vector<int32_t>(array.Data(), array.Data() + array.ElementLength());
}

std::vector<std::string> to_strings(const Napi::Value & value, const char * name) {
    if (!value.IsArray()) {
        throw Napi::TypeError::New(value.Env(), std::string(name) + " must be an array of strings");
    }
    const auto array = value.As<Napi::Array>();
    std::vector<std::string> out;
    out.reserve(array.Length());
    for (uint32_t i = 0; i < array.Length(); ++i) {
        out.push_back(array.Get(i).As<Napi::String>().Utf8Value());
    }
    return out;
}

std::vector<std::pair<int32_t, float>> to_adapters(const Napi::Object & value) {
    std::vector<std::pair<int32_t, float>> adapters;
    const auto ids = value.Get("adapterIds").As<Napi::Array>();
    const auto strengths = value.Get("adapterStrengths").As<Napi::Array>();
    for (uint32_t i = 0; i < ids.Length(); ++i) {
        adapters.emplace_back(ids.Get(i).As<Napi::Number>().Int32Value(),
                              strengths.Get(i).As<Napi::Number>().FloatValue());
    }
    return adapters;
}

Napi::Int32Array from_int32s(Napi::Env env, const std::vector<int32_t> & values) {
    auto array = Napi::Int32Array::New(env, values.size());
    std::copy(values.begin(), values.end(), array.Data());
    return array;
}

namespace {

PlanBatch to_batch(const Napi::Object & value) {
    PlanBatch batch;
    batch.tokens = to_int32s(value.Get("tokens"), "tokens");
    batch.positions = to_int32s(value.Get("positions"), "positions");
    batch.seq_offsets = to_int32s(value.Get("seqOffsets"), "seqOffsets");
    batch.seq_ids = to_int32s(value.Get("seqIds"), "seqIds");
    batch.row_offsets = to_int32s(value.Get("rowOffsets"), "rowOffsets");
    batch.row_tokens = to_int32s(value.Get("rowTokens"), "rowTokens");
    batch.output_rows = to_int32s(value.Get("outputRows"), "outputRows");
    return batch;
}

Napi::Value from_special(Napi::Env env, const SpecialToken & token) {
    if (token.id < 0) {
        return env.Undefined();
    }
    auto out = Napi::Object::New(env);
    out.Set("id", token.id);
    out.Set("text", token.text);
    return out;
}

} // namespace

ExtractRequest to_request(const Napi::Object & value) {
    ExtractRequest request;
    const auto batches = value.Get("batches").As<Napi::Array>();
    for (uint32_t i = 0; i < batches.Length(); ++i) {
        request.batches.push_back(to_batch(batches.Get(i).As<Napi::Object>()));
    }
    request.layers = to_int32s(value.Get("layers"), "layers");
    request.n_rows = value.Get("nRows").As<Napi::Number>().Int64Value();
    request.adapters = to_adapters(value);
    request.stop_early = value.Get("stopEarly").As<Napi::Boolean>().Value();
    request.group_cells = value.Get("groupCells").As<Napi::Number>().Int32Value();
    request.split_from = value.Get("splitFrom").As<Napi::Number>().Int64Value();
    request.n_threads = value.Get("threads").As<Napi::Number>().Int32Value();
    request.max_tokens = value.Get("maxTokens").As<Napi::Number>().Int32Value();
    return request;
}

ModelSource to_source(const Napi::Object & value) {
    ModelSource source;
    source.path = value.Get("path").As<Napi::String>().Utf8Value();
    const auto header = value.Get("header");
    if (header.IsUndefined()) {
        return source;
    }
    const auto bytes = header.As<Napi::Uint8Array>();
    source.header.assign(bytes.Data(), bytes.Data() + bytes.ByteLength());
    const auto parts = value.Get("parts").As<Napi::Float64Array>();
    for (size_t i = 0; i + 2 < parts.ElementLength(); i += 3) {
        source.parts.push_back({static_cast<int64_t>(parts[i]), static_cast<int64_t>(parts[i + 1]),
                                static_cast<int64_t>(parts[i + 2])});
    }
    return source;
}

Placement to_placement(const Napi::Object & value) {
    Placement placement;
    placement.device = value.Get("device").As<Napi::String>().Utf8Value();
    placement.n_blocks = value.Get("blocks").As<Napi::Number>().Int32Value();
    placement.on_device = value.Get("onDevice").As<Napi::Number>().Int32Value();
    placement.runs_to = value.Get("runsTo").As<Napi::Number>().Int32Value();
    placement.runs_head = value.Get("runsHead").As<Napi::Boolean>().Value();
    placement.repack = value.Get("repack").As<Napi::Boolean>().Value();
    return placement;
}

Napi::Array from_memory(Napi::Env env, const std::vector<DeviceMemory> & devices) {
    auto out = Napi::Array::New(env, devices.size());
    for (size_t i = 0; i < devices.size(); ++i) {
        auto each = Napi::Object::New(env);
        each.Set("device", devices[i].device);
        each.Set("weights", static_cast<double>(devices[i].weights));
        each.Set("context", static_cast<double>(devices[i].context));
        each.Set("compute", static_cast<double>(devices[i].compute));
        out.Set(static_cast<uint32_t>(i), each);
    }
    return out;
}

Napi::Object from_info(Napi::Env env, const ModelInfo & info) {
    auto out = Napi::Object::New(env);
    out.Set("nLayer", info.n_layer);
    out.Set("nEmbd", info.n_embd);
    out.Set("nVocab", info.n_vocab);
    out.Set("nCtxTrain", info.n_ctx_train);
    out.Set("hasVocab", info.has_vocab);
    out.Set("addBos", info.add_bos);
    out.Set("addEos", info.add_eos);
    out.Set("bos", from_special(env, info.bos));
    out.Set("eos", from_special(env, info.eos));
    return out;
}

} // namespace traitscope::addon
