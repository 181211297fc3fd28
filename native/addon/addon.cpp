// The addon's exports: CancelToken, Model, mergeRows(), columnSquares(), loadBackends(), devices(),
// systemInfo().

#include "addon/job_worker.h"
#include "addon/merge_wrap.h"
#include "addon/model_wrap.h"
#include "core/model.h"

#include <napi.h>

namespace traitscope::addon {

Napi::Error coded_error(Napi::Env env, const std::string & code, const std::string & message) {
    auto error = Napi::Error::New(env, message);
    error.Set("code", Napi::String::New(env, code));
    return error;
}

namespace {

Napi::Value devices(const Napi::CallbackInfo & info) {
    const auto list = list_devices();
    auto out = Napi::Array::New(info.Env(), list.size());
    for (size_t i = 0; i < list.size(); ++i) {
        auto device = Napi::Object::New(info.Env());
        device.Set("name", list[i].name);
        device.Set("description", list[i].description);
        device.Set("isGpu", list[i].is_gpu);
        device.Set("memoryFree", static_cast<double>(list[i].memory_free));
        device.Set("memoryTotal", static_cast<double>(list[i].memory_total));
        out.Set(static_cast<uint32_t>(i), device);
    }
    return out;
}

void load_backend_libraries(const Napi::CallbackInfo & info) {
    load_backends(info[0].As<Napi::String>().Utf8Value());
}

Napi::Value engine_info(const Napi::CallbackInfo & info) {
    return Napi::String::New(info.Env(), system_info());
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
    exports.Set("CancelToken", CancelToken::define(env));
    exports.Set("Model", ModelWrap::define(env));
    exports.Set("mergeRows", Napi::Function::New<merge_rows_call>(env, "mergeRows"));
    exports.Set("columnSquares", Napi::Function::New<column_squares_call>(env, "columnSquares"));
    exports.Set("loadBackends", Napi::Function::New<load_backend_libraries>(env, "loadBackends"));
    exports.Set("devices", Napi::Function::New<devices>(env, "devices"));
    exports.Set("systemInfo", Napi::Function::New<engine_info>(env, "systemInfo"));
    return exports;
}

} // namespace

} // namespace traitscope::addon

// The macro wants an unqualified name.
static Napi::Object init_traitscope(Napi::Env env, Napi::Object exports) {
    return traitscope::addon::init(env, exports);
}

NODE_API_MODULE(traitscope, init_traitscope)
