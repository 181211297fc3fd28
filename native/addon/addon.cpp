// The addon's exports: CancelToken, Model, arithmetic on rows (merge_wrap.h), and what needs no open model
// (engine.h).

#include "addon/engine.h"
#include "addon/job_worker.h"
#include "addon/merge_wrap.h"
#include "addon/model_wrap.h"

#include <napi.h>

namespace traitscope::addon {

Napi::Error coded_error(Napi::Env env, const std::string & code, const std::string & message) {
    auto error = Napi::Error::New(env, message);
    error.Set("code", Napi::String::New(env, code));
    return error;
}

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
    exports.Set("version", TRAITSCOPE_VERSION);
    exports.Set("CancelToken", CancelToken::define(env));
    exports.Set("Model", ModelWrap::define(env));
    exports.Set("mergeRows", Napi::Function::New<merge_rows_call>(env, "mergeRows"));
    exports.Set("columnSquares", Napi::Function::New<column_squares_call>(env, "columnSquares"));
    define_engine(env, exports);
    return exports;
}

} // namespace

} // namespace traitscope::addon

// The macro wants an unqualified name.
static Napi::Object init_traitscope(Napi::Env env, Napi::Object exports) {
    return traitscope::addon::init(env, exports);
}

NODE_API_MODULE(traitscope, init_traitscope)
