#include "addon/merge_wrap.h"

#include "addon/job_worker.h"
#include "addon/model_wrap.h"
#include "core/merge_rows.h"

#include <string>
#include <utility>

namespace traitscope::addon {

namespace {

template <typename Array> struct ArrayType;
template <> struct ArrayType<Napi::Uint8Array> {
    static constexpr napi_typedarray_type value = napi_uint8_array;
};
template <> struct ArrayType<Napi::Int32Array> {
    static constexpr napi_typedarray_type value = napi_int32_array;
};
template <> struct ArrayType<Napi::Float32Array> {
    static constexpr napi_typedarray_type value = napi_float32_array;
};

/// Points into the caller's memory, which the request keeps alive while the work runs; undefined is empty.
template <typename Array, typename T> View<const T> view(const Napi::Object & in, const char * name) {
    const Napi::Value value = in.Get(name);
    if (value.IsUndefined()) {
        return {};
    }
    if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != ArrayType<Array>::value) {
        throw Napi::TypeError::New(in.Env(), std::string(name) + " has the wrong type");
    }
    auto array = value.As<Array>();
    return {array.Data(), array.ElementLength()};
}

/// GGML_TYPE_COUNT, which the core refuses, for numbers that are no type.
ggml_type to_type(const Napi::Value & value) {
    const int64_t id = value.As<Napi::Number>().Int64Value();
    return id >= 0 && id < GGML_TYPE_COUNT ? static_cast<ggml_type>(id) : GGML_TYPE_COUNT;
}

RowMerge to_merge(const Napi::Object & in) {
    const auto integer = [&](const char * name) { return in.Get(name).As<Napi::Number>().Int64Value(); };
    RowMerge merge;
    merge.name = in.Get("name").As<Napi::String>().Utf8Value();
    merge.source = to_type(in.Get("sourceType"));
    merge.target = to_type(in.Get("targetType"));
    merge.rows = integer("rows");
    merge.columns = integer("columns");
    merge.rank = integer("rank");
    merge.base = view<Napi::Uint8Array, uint8_t>(in, "base");
    merge.a = view<Napi::Float32Array, float>(in, "a");
    merge.b = view<Napi::Float32Array, float>(in, "b");
    merge.replaced = view<Napi::Int32Array, int32_t>(in, "replaced");
    merge.replacement = view<Napi::Float32Array, float>(in, "replacement");
    merge.row_norms = view<Napi::Float32Array, float>(in, "rowNorms");
    merge.column_factors = view<Napi::Float32Array, float>(in, "columnFactors");
    merge.strength = in.Get("strength").As<Napi::Number>().FloatValue();
    merge.n_threads = in.Get("threads").As<Napi::Number>().Int32Value();
    return merge;
}

struct MergeWork {
    RowMerge merge;
    Napi::Reference<Napi::Uint8Array> result_array; // touched on the JS thread only; `out` points into it
    View<uint8_t> out;

    void run(Job & job) { merge_rows(merge, out, job); }
    Napi::Value result(Napi::Env) { return result_array.Value(); }
};

struct SquaresWork {
    RowMerge merge;
    Napi::Reference<Napi::Float64Array> result_array; // as above
    View<double> out;

    void run(Job & job) { add_column_squares(merge, out, job); }
    Napi::Value result(Napi::Env) { return result_array.Value(); }
};

template <typename Work, typename Array>
Napi::Value start(const Napi::CallbackInfo & info, RowMerge merge, Array out) {
    const auto request = info[0].As<Napi::Object>();
    auto * data = out.Data();
    const size_t size = out.ElementLength();
    Work work{std::move(merge), Napi::Persistent(out), {data, size}};
    return JobWorker<Work>::start(info.Env(), std::move(work), to_cancel(info[1]), info.Env().Undefined(),
                                  request);
}

/// A type or shape that the core will refuse has no size; it gets an empty result to refuse it with.
size_t result_bytes(const RowMerge & merge) {
    const bool sound = can_requantize(merge.target) && merge.rows > 0 && merge.columns > 0 &&
                       merge.columns % ggml_blck_size(merge.target) == 0;
    return sound ? ggml_row_size(merge.target, merge.columns) * static_cast<size_t>(merge.rows) : 0;
}

} // namespace

Napi::Value merge_rows_call(const Napi::CallbackInfo & info) {
    RowMerge merge = to_merge(info[0].As<Napi::Object>());
    const size_t bytes = result_bytes(merge);
    return start<MergeWork>(info, std::move(merge), Napi::Uint8Array::New(info.Env(), bytes));
}

Napi::Value column_squares_call(const Napi::CallbackInfo & info) {
    RowMerge merge = to_merge(info[0].As<Napi::Object>());
    const auto columns = static_cast<size_t>(merge.columns > 0 ? merge.columns : 0);
    return start<SquaresWork>(info, std::move(merge), Napi::Float64Array::New(info.Env(), columns));
}

} // namespace traitscope::addon
